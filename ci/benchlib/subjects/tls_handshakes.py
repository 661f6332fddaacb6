"""What a TLS handshake costs the client: a full one against oha's, and a resumed one against a full one."""

import contextlib
import tempfile
from pathlib import Path

from .. import certificates, servers, tools
from ..handshakes import HandshakeLog, require_logged
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A new TLS 1.3 connection for every request, 64 at a time, against nginx with one worker and an ECDSA certificate on P-256,
which the client verifies. For full handshakes nginx has neither a session cache nor tickets, for resumed ones it has both.
It logs version, suite, group, the groups that the client offered and whether the session was resumed; a run whose log
contradicts its purpose is an error. CPU per request is that of the handshake, the connection and its one request, and a share
of the tool's start.
"""
CONNECTIONS = 64
# What oha offers and cannot be told to change.
GROUPS = "X25519MLKEM768,X25519,P-256,P-384"


def measure(settings):
    duration = settings.duration
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(certificates.made(settings.tools))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringtide-handshakes-")))
        flags = ["--no-keepalive", "--cacert", made.authority, "--tls-groups", GROUPS]

        def cases_of(resumption, *generators):
            log = HandshakeLog(folder / ("resumed" if resumption else "full"), CONNECTIONS, resumption)
            server = stack.enter_context(servers.nginx(
                settings.tools, settings.server_core, access_log=log.path, certificates=made, resumption=resumption))
            return [Case(tool.name, tool, server, before=log.begin, after=log.judge) for tool in generators]

        cases = [
            *cases_of(
                False,
                tools.ringtide(duration, CONNECTIONS, *flags, "--tls-resumption", "off"),
                tools.oha(settings.tools, duration, CONNECTIONS, "--disable-keepalive", "--cacert", made.authority),
            ),
            *cases_of(
                True,
                tools.ringtide(duration, CONNECTIONS, *flags, "--tls-resumption", "on", name="ringtide, resumed"),
            ),
        ]
        results = Results(measure_cases(settings, "tls-handshakes", cases))
    require_logged(results.records, CONNECTIONS)
    bars = [
        Bar("CPU per full handshake relative to oha", results.ratio("ringtide", "oha", "cpu_us_per_request"), "≤", 0.9),
        Bar("CPU per resumed handshake relative to a full one",
            results.ratio("ringtide, resumed", "ringtide", "cpu_us_per_request"), "≤", 0.6),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "handshakes_full", "handshakes_resumed", "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
