"""Frames of 16 bytes sent back and forth, on ringtide's streams and on those of other runtimes."""

import contextlib

from .. import servers, tools
from ..session import Case, Results, Subject, measure as measure_cases, rate_or_cpu_bars

INTENT = """
A frame of 16 bytes to the server and back, over and over on 64 connections. As client, each runtime works against the
floor's server; as server, under the floor's client. The floor is a bare io_uring loop.
"""
CONNECTIONS = 64
# What ringtide's rate must be relative to that of each other runtime.
BARS = {"tokio": 1.3, "monoio": 1.0, "tokio-uring": 1.0}
PEERS = ["ringtide", *BARS]


def measure(settings):
    with contextlib.ExitStack() as stack:
        neutral = stack.enter_context(servers.floor(settings.server_core, "--protocol", "echo"))
        cases = [
            Case(f"{peer} as client", tools.echo(settings.duration, CONNECTIONS, peer), neutral) for peer in PEERS
        ]
        tool = tools.floor(settings.duration, CONNECTIONS, "--protocol", "echo")
        for peer in PEERS:
            server = stack.enter_context(servers.echo(settings.server_core, peer))
            cases.append(Case(f"{peer} as server", tool, server))
        results = Results(measure_cases(settings, "echo", cases))
    bars = []
    for role, other_side in (("client", "server"), ("server", "generator")):
        for peer, limit in BARS.items():
            bars += rate_or_cpu_bars(
                results, f"ringtide as {role}", f"{peer} as {role}", limit, other_side, unit=("echo", "echoes"))
    metrics = ["requests_per_second", "cpu_us_per_request", "server_cpu_us_per_request", "generator_core_share",
               "server_core_share"]
    return Subject(results.records, bars, metrics), results
