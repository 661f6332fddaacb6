"""Requests per second and CPU per request over TLS, against other generators."""

from .. import certificates, servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases, rate_bar

INTENT = """
A closed loop over 64 kept TLS 1.3 connections to nginx with one worker (`return 200`), with an ECDSA certificate on P-256.
ringtide and oha verify it.
"""
CONNECTIONS = 64


def measure(settings):
    with (
        certificates.made(settings.tools) as made,
        servers.nginx(settings.tools, settings.server_core, certificates=made) as server,
    ):
        duration = settings.duration
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(duration, CONNECTIONS, "--cacert", made.authority),
                tools.wrk(settings.tools, duration, CONNECTIONS),
                tools.oha(settings.tools, duration, CONNECTIONS, "--cacert", made.authority),
                tools.h2load(settings.tools, duration, CONNECTIONS),
            )
        ]
        results = Results(measure_cases(settings, "tls-throughput", cases))
    bars = [
        rate_bar(results, "ringtide", "wrk", 1.1, "server"),
        Bar("CPU per request relative to wrk", results.ratio("ringtide", "wrk", "cpu_us_per_request"), "≤", 0.85),
        Bar("CPU per request relative to oha", results.ratio("ringtide", "oha", "cpu_us_per_request"), "≤", 0.75),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
