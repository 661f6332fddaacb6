"""`ringtide run` against TLS servers of other authors: what it reports of the handshakes is what they log."""

import re
import subprocess

from benchlib.process import Server
from benchlib.servers import free_port

from . import hosts
from .check import counts, holds, last_core, report_of, run, run_that_fails, same, says, serve, start_run

HANDSHAKES = 40
VERSIONS = {"1.2": "TLSv1.2", "1.3": "TLSv1.3"}
CONNECTIONS = 2
# Each takes s_server a second: it waits for our end.
CONNECTS = 4


def nginx(found, certificates):
    matrix(hosts.nginx, found, certificates)


def haproxy(found, certificates):
    matrix(hosts.haproxy, found, certificates)


def apache(found, certificates):
    # Apache logs no ALPN.
    matrix(hosts.apache, found, certificates, alpn="-")


def node(found, certificates):
    # It gives two tickets in a full handshake and none in a resumed one, and a ticket of TLS 1.3 is used once.
    matrix(hosts.node, found, certificates, can_turn_off=False, full_share_max=0.4, says_why=False)


def python(found, certificates):
    matrix(hosts.python, found, certificates, can_turn_off=False)


def matrix(start, found, certificates, alpn="http/1.1", can_turn_off=True, full_share_max=0, says_why=True):
    """Each certificate, version and way to have sessions resumed or not; client certificates; a HelloRetryRequest."""
    with serve() as upstream, start(found, certificates, upstream.port) as host:
        seen = dict.fromkeys(host.ports, 0)
        wants = [(hosts.ECDSA, "on"), (hosts.ECDSA, "off"), (hosts.RSA, "on"), (hosts.RSA, "off")]
        if can_turn_off:
            wants += [(hosts.ECDSA_FULL, "on"), (hosts.RSA_FULL, "on")]
        for version, logged_version in VERSIONS.items():
            for kind, resumption in wants:
                what = f"{hosts.NAMES[kind]}, TLS {version}, resumption {resumption}, port {kind}"
                flags = ("--cacert", certificates.ca, "--tls-min", version, "--tls-max", version, "-c", CONNECTIONS, "-t", 1,
                         "-n", HANDSHAKES, "--no-keepalive", "--tls-resumption", resumption)
                report = run(host.url(kind), *flags)
                same(f"{what}: sent, completed, failed", counts(report), (HANDSHAKES, HANDSHAKES, 0))
                same(f"{what}: statuses", report["status"], {"200": HANDSHAKES})
                tls = report["tls"]
                same(f"{what}: version", tls["version"], version)
                if version == "1.2":
                    says(f"{what}: cipher", tls["cipher"], f"_{hosts.NAMES[kind].upper()}_")
                new = host.logged(kind, seen[host.ports[kind]] + HANDSHAKES)[-HANDSHAKES:]
                seen[host.ports[kind]] += HANDSHAKES
                same(f"{what}: its log of versions and protocols", {(line[0], line[2]) for line in new}, {(logged_version, alpn)})
                resumed = sum(line[1] == "resumed" for line in new)
                same(f"{what}: full, resumed", (tls["handshakes_full"], tls["handshakes_resumed"]), (HANDSHAKES - resumed, resumed))
                if resumption == "off" or kind in hosts.FULL:
                    same(f"{what}: resumed", resumed, 0)
                else:
                    holds(f"{what}: only {resumed} of {HANDSHAKES} were resumed", resumed >= HANDSHAKES * (1 - full_share_max) - CONNECTIONS)
        keepalive(host, certificates)
        client_certificates(host, certificates, says_why)
        retried(host, certificates)


def keepalive(host, certificates):
    for flags in ((), ("-p", 4), ("--driver", "fallback")):
        what = f"keep-alive {' '.join(map(str, flags))}"
        report = run(host.url(hosts.ECDSA, host="127.0.0.1"), "--cacert", certificates.ca, "-c", 4, "-t", 1, "-n", 200, *flags)
        same(f"{what}: sent, completed, failed", counts(report), (200, 200, 0))
        opened = report["connections_opened"] + report["connections_opened_before_start"]
        made = report["tls"]["handshakes_full"] + report["tls"]["handshakes_resumed"]
        same(f"{what}: connections, handshakes", (opened, made), (4, 4))


def client_certificates(host, certificates, says_why):
    """The server gets ours; without one, and with one of a stranger, our message says that it wants one. Node says nothing to
    a stranger: it closes.
    """
    trust = ("--cacert", certificates.ca)
    for version in VERSIONS:
        only = ("--tls-min", version, "--tls-max", version)
        identity = ("--cert", certificates.cert("client"), "--key", certificates.key("client"))
        report = run(host.url(hosts.CLIENTS), *trust, *only, *identity, "-n", 4, "-c", 2)
        same(f"client certificate, {version}: statuses", report["status"], {"200": 4})
        if "400 " in (bad := refusal(host, *trust, *only)):
            # nginx lets anybody in, and says it in HTTP.
            continue
        says(f"no client certificate, {version}", bad, "--cert")
        stranger = ("--cert", certificates.cert("stranger"), "--key", certificates.key("stranger"))
        bad = refusal(host, *trust, *only, *stranger)
        if says_why:
            says(f"the certificate of a stranger, {version}", bad, "--cert")


def refusal(host, *flags):
    """Returns what we say of a server that must not serve us."""
    done = start_run(host.url(hosts.CLIENTS), "-n", 1, "-c", 1, *flags)
    if done.returncode != 0:
        return done.stderr
    report = report_of(done)
    if report["status"]:
        same("without a client certificate: statuses", report["status"], {"400": 1})
        return "400 by HTTP"
    return str(report["error_examples"])


def retried(host, certificates):
    """The server has only P-256 and P-384, of which we send no share at first: a HelloRetryRequest."""
    trust = ("--cacert", certificates.ca)
    for version in VERSIONS:
        report = run(host.url(hosts.NO_X25519), *trust, "--tls-min", version, "--tls-max", version, "-n", 10, "--no-keepalive",
                     "-c", 2, "--tls-resumption", "off")
        same(f"P-256 only, TLS {version}: statuses", report["status"], {"200": 10})
        same(f"P-256 only, TLS {version}: full handshakes", report["tls"]["handshakes_full"], 10)
    report = run(host.url(hosts.NO_X25519), *trust, "--tls-groups", "P-256", "-n", 4, "-c", 2)
    same("--tls-groups P-256: statuses", report["status"], {"200": 4})
    message = run_that_fails(host.url(hosts.NO_X25519), *trust, "--tls-groups", "X25519")
    says("--tls-groups X25519", message, "--tls-groups")


def openssl_s_server(found, certificates):
    """`s_server -www` answers in HTTP/1.0 and counts what was resumed."""
    for name in ("ecdsa", "rsa"):
        for version, option in (("1.2", "-tls1_2"), ("1.3", "-tls1_3")):
            for resumption in ("on", "off"):
                port = free_port()
                command = [found["openssl"], "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificates.cert(name)),
                           "-key", str(certificates.key(name)), "-www", "-quiet", option]
                with Server("s_server", command, last_core(), port):
                    url = f"https://localhost:{port}/"
                    report = run(url, "--cacert", certificates.ca, "-n", CONNECTS, "-c", 1, "--tls-resumption", resumption)
                    page = subprocess.run([found["curl"], "--silent", "--insecure", "--noproxy", "*", url],
                                          capture_output=True, text=True).stdout
                what = f"s_server, {name}, TLS {version}, resumption {resumption}"
                same(f"{what}: sent, completed, failed", counts(report), (CONNECTS, CONNECTS, 0))
                accepts, hits = (re.search(rf"(\d+) {counted}", page) for counted in ("server accepts that finished", "session cache hits"))
                tls = report["tls"]
                same(f"{what}: version", tls["version"], version)
                # curl is one of them.
                same(f"{what}: handshakes", tls["handshakes_full"] + tls["handshakes_resumed"], int(accepts[1]) - 1)
                same(f"{what}: resumed", tls["handshakes_resumed"], int(hits[1]))
                same(f"{what}: expected to be resumed", tls["handshakes_resumed"], CONNECTS - 1 if resumption == "on" else 0)


PARTIES = (nginx, haproxy, apache, node, python, openssl_s_server)
