"""`ringtide serve` as a server, against nginx."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = "`ringtide serve` with one thread against nginx with one worker (`return 200`), both under `ringtide run`."
CONNECTIONS = 64


def measure(settings):
    with servers.ringtide(settings.server_core) as ringtide, servers.nginx(settings.tools, settings.server_core) as nginx:
        tool = tools.ringtide(settings.duration, CONNECTIONS)
        cases = [Case("ringtide serve", tool, ringtide), Case("nginx", tool, nginx)]
        results = Results(measure_cases(settings, "server", cases))
    ratio = results.ratio("ringtide serve", "nginx", "requests_per_second")
    cpu = results.ratio("ringtide serve", "nginx", "server_cpu_us_per_request")
    bars = [
        Bar("requests/s relative to nginx", ratio, "≥", 1.25),
        Bar("server CPU per request relative to nginx", cpu, "≤", 0.80),
    ]
    metrics = ["requests_per_second", "server_cpu_us_per_request", "cpu_us_per_request"]
    return Subject(results.records, bars, metrics), results
