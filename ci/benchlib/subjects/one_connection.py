"""How much of a single connection's time is the generator's own wake-up."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over one connection to the bare server, and an open one at 1,000/s over 64 connections to nginx. Almost nothing
is in flight, so a tool that sleeps until the answer comes mostly measures how long its own core takes to wake up. ringtide
spins for answers by default, as the server has a core of its own; with `--spin off` it sleeps like the others. CPU per
request counts what is spun.
"""
RATE = 1_000
OPEN_CONNECTIONS = 64


def measure(settings):
    duration = settings.duration
    nginx_case = {name: f"{name}, {RATE}/s, nginx" for name in ("ringtide", "oha")}
    with servers.floor(settings.server_core) as floor, servers.nginx(settings.tools, settings.server_core) as nginx:
        cases = [
            Case("ringtide", tools.ringtide(duration, 1), floor),
            Case("ringtide --spin off", tools.ringtide(duration, 1, "--spin", "off"), floor),
            Case("wrk", tools.wrk(settings.tools, duration, 1), floor),
            Case("floor", tools.floor(duration, 1), floor),
            Case(nginx_case["ringtide"], tools.ringtide(duration, OPEN_CONNECTIONS, "-R", str(RATE)), nginx),
            Case(nginx_case["oha"], tools.oha(settings.tools, duration, OPEN_CONNECTIONS, "-q", str(RATE),
                                              "--latency-correction"), nginx),
        ]
        results = Results(measure_cases(settings, "one-connection", cases))
    bars = [
        Bar("requests/s relative to wrk", results.ratio("ringtide", "wrk", "requests_per_second"), "≥", 2.5),
        Bar("requests/s relative to wrk, asleep",
            results.ratio("ringtide --spin off", "wrk", "requests_per_second"), "≥", 1.0),
        Bar(f"response p50 at {RATE}/s relative to oha",
            results.ratio(nginx_case["ringtide"], nginx_case["oha"], "response_p50_us"), "≤", 0.6),
    ]
    metrics = ["requests_per_second", "response_p50_us", "response_p99_us", "cpu_us_per_request", "generator_core_share",
               "server_cpu_us_per_request"]
    return Subject(results.records, bars, metrics), results
