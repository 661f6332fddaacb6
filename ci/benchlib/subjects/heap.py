"""Heap bytes per request in flight, as the generator's own allocator counts them."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = "Heap per request in flight, counted by the generator's own allocator (`generator.heap_bytes_per_request`)."
CONNECTIONS = 64


def measure(settings):
    with servers.floor(settings.server_core) as server:
        cases = [Case("ringtide", tools.ringtide(settings.duration, CONNECTIONS), server)]
        results = Results(measure_cases(settings, "heap", cases))
    heap = results.median("ringtide", "heap_bytes_per_request")
    bars = [Bar("heap per request in flight", heap, "<", 1024, " B")]
    return Subject(results.records, bars, ["heap_bytes_per_request", "requests_per_second"]), results
