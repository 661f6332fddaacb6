"""16 requests in flight on each connection, against wrk."""

import os
from pathlib import Path

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases, rate_bar

INTENT = """
A closed loop with 16 requests in flight on each of 64 connections to the bare server. wrk runs a script that sends 16
requests at once, waits for all 16 responses and sends the next 16.
"""
CONNECTIONS = 64
DEPTH = 16
# Relative, so that results name no path of this machine.
SCRIPT = os.path.relpath(Path(__file__).resolve().parents[1] / "pipelining.lua")


def measure(settings):
    with servers.floor(settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "-p", str(DEPTH)),
                tools.wrk(settings.tools, settings.duration, CONNECTIONS, "-s", SCRIPT),
            )
        ]
        results = Results(measure_cases(settings, "pipelining", cases))
    bars = [
        rate_bar(results, "ringtide", "wrk", 1.2, "server"),
        Bar("CPU per request relative to wrk", results.ratio("ringtide", "wrk", "cpu_us_per_request"), "≤", 0.9),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
