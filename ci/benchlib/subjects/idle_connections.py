"""What idle connections cost a server that opens and closes others."""

import os
import socket
import time

from .. import servers, tools
from ..errors import BenchError
from ..session import Bar, Case, Results, Subject, measure as measure_cases

IDLE = 16_000
IDLE_SMOKE = 500
INTENT = f"""
`ringtide serve` with one thread takes a new connection for every request, 64 at a time: without other connections, and
while {IDLE:,} more are open and idle.
"""
OPEN_FILES_NEEDED = IDLE + 200
CONNECTIONS = 64
# Idle connections come from these addresses, so that they take no ports from the generator.
SOURCES = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE_SECONDS = 30


def measure(settings):
    count = IDLE_SMOKE if settings.smoke else IDLE
    with servers.ringtide(settings.server_core) as server:
        crowd = Crowd(count)
        tool = tools.ringtide(settings.duration, CONNECTIONS, "--no-keepalive")
        cases = [
            Case("none idle", tool, server),
            Case(f"{count} idle", tool, server, before=crowd.open, after=crowd.close),
        ]
        results = Results(measure_cases(settings, "idle-connections", cases))
    idle, alone = (case.name for case in reversed(cases))
    bars = [
        Bar("connections/s with idle ones relative to without", results.ratio(idle, alone, "requests_per_second"), "≥", 0.9),
        Bar("server CPU per connection with idle ones relative to without",
            results.ratio(idle, alone, "server_cpu_us_per_request"), "≤", 1.1),
    ]
    metrics = ["requests_per_second", "server_cpu_us_per_request", "cpu_us_per_request"]
    return Subject(results.records, bars, metrics), results


class Crowd:
    """Connections that were answered once and then stay idle."""

    def __init__(self, count):
        self.count = count
        self.sockets = []

    def open(self, server):
        self.server_files = open_files(server)
        for index in range(self.count):
            client = socket.socket()
            self.sockets.append(client)
            client.bind((SOURCES[index % len(SOURCES)], 0))
            client.connect(("127.0.0.1", server.port))
            client.sendall(REQUEST)
        for client in self.sockets:
            client.settimeout(10)
            if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
                raise BenchError("the server did not answer a connection that was to stay idle")

    def close(self, server):
        # They were really idle and open during the run, or the figure means nothing.
        for client in self.sockets:
            client.setblocking(False)
            try:
                client.recv(1)
                raise BenchError("the server closed idle connections during the run")
            except BlockingIOError:
                client.close()
        self.sockets = []
        deadline = time.monotonic() + CLOSE_SECONDS
        while open_files(server) > self.server_files:
            if time.monotonic() > deadline:
                raise BenchError(f"the server still holds closed connections after {CLOSE_SECONDS} s")
            time.sleep(0.05)
        return {"idle_connections": self.count}


def open_files(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))
