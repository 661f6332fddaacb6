"""The subjects, in the order of measuring. Each has an INTENT, which opens its summary, and a `measure(settings)`."""

from . import (
    arrivals,
    client_handle,
    fallback,
    heap,
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
    "large-bodies": large_bodies,
    "open-loop": open_loop,
    "arrivals": arrivals,
    "server": server,
    "client-handle": client_handle,
}
