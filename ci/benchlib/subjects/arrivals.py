"""How evenly the requests of an open loop arrive at the server."""

import contextlib
import json
import urllib.request

from .. import servers, tools
from ..errors import BenchError
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Constant rates over 64 connections. A spinning server measures how far each request arrives from an even grid at the
demanded rate. The grid is shifted to fit (by the median), but its rate is not.
"""
CONNECTIONS = 64
RATES = (1_000, 20_000)


def measure(settings):
    cases = []
    with contextlib.ExitStack() as stack:
        for rate in RATES:
            # Both servers spin on one core, so the one that is not measuring must be paused.
            server = stack.enter_context(servers.grid(settings.server_core, rate))
            server.pause()
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "-R", str(rate)),
                tools.oha(settings.tools, settings.duration, CONNECTIONS, "-q", str(rate)),
            ):
                cases.append(Case(f"{tool.name}, {rate}/s", tool, server, before=begin, after=judge))
        results = Results(measure_cases(settings, "arrivals", cases))
    bars = []
    for rate in RATES:
        case = f"ringtide, {rate}/s"
        bars += [
            Bar(f"off the grid at {rate}/s, p50", results.median(case, "arrival_p50_us"), "≤", 150, " µs"),
            Bar(f"off the grid at {rate}/s, p99", results.median(case, "arrival_p99_us"), "≤", 600, " µs"),
        ]
    metrics = ["requests_per_second", "arrival_p50_us", "arrival_p90_us", "arrival_p99_us", "arrival_max_us"]
    return Subject(results.records, bars, metrics), results


def begin(server):
    server.resume()
    ask(server)


def judge(server):
    report = ask(server)
    server.pause()
    if report["count"] == 0:
        raise BenchError("the grid server saw no request")
    names = {"p50": "arrival_p50_us", "p90": "arrival_p90_us", "p99": "arrival_p99_us", "max": "arrival_max_us"}
    return {"arrivals": report["count"], **{name: report["deviation_us"][key] for key, name in names.items()}}


def ask(server):
    """The report on all arrivals since the last report."""
    with urllib.request.urlopen(server.url("/report"), timeout=10) as response:
        return json.load(response)
