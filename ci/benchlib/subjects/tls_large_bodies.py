"""CPU time per GiB of responses of 1 MiB over TLS, as client and as server."""

from .. import certificates, servers, tools
from ..handshakes import require_same_cipher
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Responses of 1 MiB over 4 kept TLS 1.3 connections. As client: against nginx with one worker, which sends a file that it
keeps open. As server: `ringtide serve --tls` against that nginx, both under `ringtide run`.
"""
CONNECTIONS = 4
PATH = f"/bytes/{servers.BODY_SIZE}"
GIB = 1024 ** 3


def measure(settings):
    with (
        certificates.made(settings.tools) as made,
        servers.ringtide(settings.server_core, made) as ringtide,
        servers.nginx(settings.tools, settings.server_core, certificates=made) as nginx,
    ):
        trust = ["--cacert", made.authority]
        tool = tools.ringtide(settings.duration, CONNECTIONS, *trust)
        cases = [
            Case("ringtide from nginx", tool, nginx, PATH),
            Case("wrk from nginx", tools.wrk(settings.tools, settings.duration, CONNECTIONS), nginx, PATH),
            Case("oha from nginx", tools.oha(settings.tools, settings.duration, CONNECTIONS, *trust), nginx, PATH),
            Case("ringtide from ringtide serve", tool, ringtide, PATH),
        ]
        results = Results(measure_cases(settings, "tls-large-bodies", cases))
    require_same_cipher([record for record in results.records if record["case"].startswith("ringtide")])
    for record in results.records:
        for side in ("", "server_"):
            record[f"{side}cpu_ms_per_gib"] = record[f"{side}cpu_us_per_request"] / 1000 * GIB / servers.BODY_SIZE
    bars = [
        # The better one is that with the greater ratio.
        Bar("CPU per GiB relative to the better of wrk and oha",
            max(results.ratio("ringtide from nginx", f"{base} from nginx", "cpu_ms_per_gib") for base in ("wrk", "oha")),
            "≤", 0.9),
        Bar("server CPU per GiB relative to nginx",
            results.ratio("ringtide from ringtide serve", "ringtide from nginx", "server_cpu_ms_per_gib"), "≤", 0.9),
    ]
    metrics = ["bytes_per_second", "cpu_ms_per_gib", "server_cpu_ms_per_gib", "generator_core_share", "server_core_share",
               "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
