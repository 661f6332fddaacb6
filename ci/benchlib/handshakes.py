"""What the two sides of a TLS connection agreed on: a run that did something else than it claims is an error."""

import re

from .errors import BenchError

# Before the first tickets come, every connection makes a full handshake, and perhaps another one, as long as there are too
# few tickets for all. Later a ticket may be missing now and then.
FULL_FIRST = 2
FULL_SHARE_MAX = 0.01
# How far the log may be off the tool's count: a tool does not count the requests that it cuts off at the end.
OFF_SHARE_MAX = 0.01
# A line of the log format `handshakes` in servers.py.
LINE = re.compile(r"(?P<agreed>\S+ \S+ \S+ offered=\S+) reused=(?P<reused>[r.]) (?P<connection_requests>\d+)")


class HandshakeLog:
    """The access log of an nginx that gets one request on each connection, so each line is a handshake. Its methods are
    `before` and `after` of a case."""

    def __init__(self, path, connections, resumption):
        self.path = path
        self.connections = connections
        self.resumption = resumption

    def begin(self, _server):
        # nginx appends, so it continues at the new end.
        self.path.write_text("")

    def judge(self, _server):
        lines = self.path.read_text().splitlines()
        found = [LINE.fullmatch(line) for line in lines]
        if not lines or not all(found):
            raise BenchError(f"nginx logged no handshakes, or other lines: {lines[:3]}")
        agreed = sorted({line["agreed"] for line in found})
        if len(agreed) > 1:
            raise BenchError(f"the handshakes of one run were not all alike: {agreed}")
        reused_connections = sum(line["connection_requests"] != "1" for line in found)
        if reused_connections:
            raise BenchError(f"{reused_connections} of {len(lines)} requests came on a connection that had served others")
        resumed = sum(line["reused"] == "r" for line in found)
        full = len(lines) - resumed
        if not self.resumption and resumed:
            raise BenchError(f"{resumed} of {len(lines)} handshakes were resumed, in a run of full ones")
        if self.resumption and full > FULL_FIRST * self.connections + FULL_SHARE_MAX * len(lines):
            raise BenchError(f"{full} of {len(lines)} handshakes were full, in a run of resumed ones")
        return {"handshakes_full": full, "handshakes_resumed": resumed, "agreed": agreed[0]}


def require_logged(records, connections):
    """Checks that nginx logged the handshakes that the tools counted, and that all tools agreed on the same with it."""
    for record in records:
        logged, counted = record["handshakes_full"] + record["handshakes_resumed"], record["requests"]
        if abs(logged - counted) > connections + OFF_SHARE_MAX * counted:
            raise BenchError(f"{record['case']} counted {counted} requests, but nginx logged {logged} handshakes")
    require_same(records, "agreed")


def require_same_cipher(records):
    """Checks that `ringtide run` reports the same version and cipher suite in all records."""
    for record in records:
        if not record["tls"]:
            raise BenchError(f"{record['case']}: the report of ringtide names no TLS version")
        record["agreed"] = f"{record['tls']['version']} {record['tls']['cipher']}"
    require_same(records, "agreed")


def require_same(records, field):
    values = {record[field]: record["case"] for record in records}
    if len(values) > 1:
        differences = "; ".join(f"{case} has {value}" for value, case in values.items())
        raise BenchError(f"the cases are not comparable: {differences}")
