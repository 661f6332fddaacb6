"""The subjects, in the order of measuring. Each has an INTENT, which opens its summary, and a `measure(settings)`; some
have OPEN_FILES_NEEDED."""

from . import (
    arrivals,
    client_handle,
    early_close,
    fallback,
    heap,
    idle_connections,
    large_bodies,
    memory,
    new_connections,
    open_loop,
    server,
    throughput,
)

ALL = {
    "throughput": throughput,
    "fallback": fallback,
    "memory": memory,
    "heap": heap,
    "new-connections": new_connections,
    "early-close": early_close,
    "idle-connections": idle_connections,
    "large-bodies": large_bodies,
    "open-loop": open_loop,
    "arrivals": arrivals,
    "server": server,
    "client-handle": client_handle,
}
