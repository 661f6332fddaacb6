"""`ringtide serve --tls` as a server, against nginx."""

from .. import certificates, servers, tools
from ..handshakes import require_same_cipher
from ..session import Bar, Case, Results, Subject, measure as measure_cases, rate_bar

INTENT = """
`ringtide serve --tls` with one thread against nginx with one worker (`return 200`), both with the same certificate (ECDSA on
P-256) and under `ringtide run` with 64 kept connections.
"""
CONNECTIONS = 64


def measure(settings):
    with (
        certificates.made(settings.tools) as made,
        servers.ringtide(settings.server_core, made) as ringtide,
        servers.nginx(settings.tools, settings.server_core, certificates=made) as nginx,
    ):
        tool = tools.ringtide(settings.duration, CONNECTIONS, "--cacert", made.authority)
        cases = [Case("ringtide serve", tool, ringtide), Case("nginx", tool, nginx)]
        results = Results(measure_cases(settings, "tls-server", cases))
    require_same_cipher(results.records)
    cpu = results.ratio("ringtide serve", "nginx", "server_cpu_us_per_request")
    bars = [
        rate_bar(results, "ringtide serve", "nginx", 1.10, "generator"),
        Bar("server CPU per request relative to nginx", cpu, "≤", 0.85),
    ]
    metrics = ["requests_per_second", "server_cpu_us_per_request", "cpu_us_per_request", "generator_core_share",
               "server_core_share"]
    return Subject(results.records, bars, metrics), results
