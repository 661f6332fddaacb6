"""The cost of a request through a client library over HTTP/2: `Client` against the bare h2 crate."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
100 tasks on one thread GET nghttpd's page over and over and share one connection without TLS: through ringtide's `Client`, and
through the bare h2 crate on a tokio current-thread runtime. With `-distinct` no two requests have the same URL; there is no bar
for that.
"""
TASKS = 100
CPU_RATIO_MAX = 0.5


def measure(settings):
    with servers.nghttpd(settings.tools, settings.server_core) as server:
        names = ("client-h2", "h2", "client-h2-distinct", "h2-distinct")
        clients = [tools.client_cost(settings.duration, TASKS, name) for name in names]
        cases = [Case(tool.name, tool, server) for tool in clients]
        results = Results(measure_cases(settings, "h2-client", cases))
    cpu = results.ratio("client-h2", "h2", "cpu_us_per_request")
    bars = [Bar("CPU per request relative to the h2 crate", cpu, "≤", CPU_RATIO_MAX)]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
