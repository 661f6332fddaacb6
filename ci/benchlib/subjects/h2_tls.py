"""CPU per request over HTTP/2 with TLS, many streams, against nginx."""

from .. import certificates, servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 10 TLS 1.3 connections with 100 streams each to nginx with one worker (`return 200`), with an ECDSA
certificate on P-256, which ringtide verifies.
"""
CONNECTIONS, STREAMS = 10, 100
CPU_RATIO_MAX = 0.7


def measure(settings):
    with (
        certificates.made(settings.tools) as made,
        servers.nginx(settings.tools, settings.server_core, certificates=made, http2=True) as server,
    ):
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide_http2(settings.duration, CONNECTIONS, STREAMS, "--cacert", made.authority),
                tools.h2load(settings.tools, settings.duration, CONNECTIONS, STREAMS),
            )
        ]
        results = Results(measure_cases(settings, "h2-tls", cases))
    cpu = results.ratio("ringtide", "h2load", "cpu_us_per_request")
    bars = [Bar("CPU per request relative to h2load", cpu, "≤", CPU_RATIO_MAX)]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
