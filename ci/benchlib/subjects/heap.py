"""Heap bytes per connection and per request in flight, as the generator's own allocator counts them."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Heap per open connection and per request in flight, counted by the generator's own allocator
(`generator.heap_bytes_per_connection` and `generator.heap_bytes_per_request`), with 64 connections.
"""
CONNECTIONS = 64


def measure(settings):
    with servers.floor(settings.server_core) as server:
        cases = [Case("ringtide", tools.ringtide(settings.duration, CONNECTIONS), server)]
        results = Results(measure_cases(settings, "heap", cases))
    bars = [
        Bar(f"heap per {what}", results.median("ringtide", metric), "<", 1024, " B")
        for what, metric in (
            ("connection", "heap_bytes_per_connection"),
            ("request in flight", "heap_bytes_per_request"),
        )
    ]
    metrics = ["heap_bytes_per_connection", "heap_bytes_per_request", "requests_per_second"]
    return Subject(results.records, bars, metrics), results
