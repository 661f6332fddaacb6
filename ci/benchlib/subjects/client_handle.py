"""The cost of a request through a client library: `ClientHandle` against reqwest."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
64 tasks of a tokio current-thread runtime GET the bare server's page over and over, through ringtide's `ClientHandle` and through reqwest.
The processor time of all threads of the process counts, the worker behind the handle included; all are on one core. Ringtide's
`Client` on the worker of its callers is there to show what the way between the threads costs.
"""
TASKS = 64


def measure(settings):
    with servers.floor(settings.server_core) as server:
        clients = [tools.client_cost(settings.duration, TASKS, name) for name in ("handle", "reqwest", "client")]
        cases = [Case(tool.name, tool, server) for tool in clients]
        results = Results(measure_cases(settings, "client-handle", cases))
    cpu = results.ratio("handle", "reqwest", "cpu_us_per_request")
    bars = [Bar("CPU per request through ClientHandle, of reqwest's", cpu, "≤", 1.0)]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request"]
    return Subject(results.records, bars, metrics), results
