"""`ringtide serve` as an HTTP/2 server, against nghttpd and hyper."""

from .. import servers, tools
from ..session import HTTP2_BUSY_RATIO, Bar, Case, Results, Subject, measure as measure_cases, rate_bar

INTENT = """
`ringtide serve` with one thread, nghttpd with one worker and hyper on one tokio thread, without TLS, under h2load with 10
connections and 100 streams each. h2load may be the limit, so the server's CPU decides.
"""
CONNECTIONS, STREAMS = 10, 100
CPU_RATIO_MAX = {"nghttpd": 0.75, "hyper": 0.5}
RATE_RATIO_MIN = 1.0


def measure(settings):
    with (
        servers.ringtide(settings.server_core) as ringtide,
        servers.nghttpd(settings.tools, settings.server_core) as nghttpd,
        servers.hyper(settings.server_core) as hyper,
    ):
        tool = tools.h2load(settings.tools, settings.duration, CONNECTIONS, STREAMS)
        cases = [Case(server.name, tool, server) for server in (ringtide, nghttpd, hyper)]
        results = Results(measure_cases(settings, "h2-server", cases))
    bars = []
    for peer, limit in CPU_RATIO_MAX.items():
        cpu = results.ratio("ringtide serve", peer, "server_cpu_us_per_request")
        bars += [
            Bar(f"server CPU per request relative to {peer}", cpu, "≤", limit),
            rate_bar(results, "ringtide serve", peer, RATE_RATIO_MIN, "generator", busy_ratio=HTTP2_BUSY_RATIO),
        ]
    metrics = ["requests_per_second", "server_cpu_us_per_request", "cpu_us_per_request", "generator_core_share",
               "server_core_share"]
    return Subject(results.records, bars, metrics), results
