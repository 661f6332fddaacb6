"""Heap bytes per HTTP/2 connection and per stream in flight, as the generator's own allocator counts them."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Heap per idle connection and per stream in flight, counted by the generator's own allocator
(`generator.heap_bytes_per_connection` and `generator.heap_bytes_per_request`), with 64 connections and 100 streams each to
the bare HTTP/2 server, which puts nothing into the header tables.
"""
CONNECTIONS, STREAMS = 64, 100
STREAM_BYTES = 1024
CONNECTION_BYTES_MAX = 4096


def measure(settings):
    with servers.floor_http2(settings.server_core) as server:
        cases = [Case("ringtide", tools.ringtide_http2(settings.duration, CONNECTIONS, STREAMS), server)]
        results = Results(measure_cases(settings, "h2-memory", cases))
    per_stream, per_connection = (
        results.median("ringtide", metric) for metric in ("heap_bytes_per_request", "heap_bytes_per_connection"))
    bars = [
        Bar("heap per stream in flight", per_stream, "<", STREAM_BYTES, " B"),
        Bar("heap per idle connection", per_connection, "≤", CONNECTION_BYTES_MAX, " B"),
    ]
    metrics = ["heap_bytes_per_connection", "heap_bytes_per_request", "requests_per_second", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
