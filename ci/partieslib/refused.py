"""What cannot work: each message names what is wrong, and what to do about it."""

import subprocess
import tempfile

from benchlib import servers
from benchlib.process import Server
from benchlib.servers import free_port

from . import hosts
from .check import Answer, holds, last_core, run, run_that_fails, same, says, serve
from .tls_serve import https, with_tls

OPTIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}


def s_server(found, certificates, name, *flags):
    port = free_port()
    command = [found["openssl"], "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificates.cert(name)), "-key",
               str(certificates.key(name)), "-www", *flags]
    return Server("s_server", command, last_core(), port)


def bad_certificates(found, certificates):
    """Each is refused by name, and accepted with -k."""
    expired = f"{certificates.expired_on:%a, %d %b %Y %H:%M:%S} GMT"
    for name, *parts in (
        ("expired", "the certificate of localhost expired on ", expired, "-k"),
        ("early", "the certificate of localhost is not valid before ", "-k"),
        ("elsewhere", "localhost", "www.example.org, example.org", "--sni"),
        ("unknown", "the certificate of localhost is not signed by a trusted authority", "--cacert"),
        ("self-signed", "the certificate of localhost is self-signed", "--cacert"),
        ("own-authority", "the certificate of localhost is self-signed", "--cacert"),
    ):
        for version, option in OPTIONS.items():
            with s_server(found, certificates, name, option) as server:
                says(f"{name}, TLS {version}", run_that_fails(https(server), "--cacert", certificates.ca), *parts)
                accepted = run(https(server), "-k", "-n", 1, "-c", 1)
                same(f"{name}, TLS {version}, with -k: completed", accepted["requests"]["completed"], 1)
    with s_server(found, certificates, "elsewhere") as server:
        report = run(https(server), "--cacert", certificates.ca, "--sni", "example.org", "-n", 1, "-c", 1)
        same("--sni: completed", report["requests"]["completed"], 1)
    with s_server(found, certificates, "own-authority") as server:
        message = run_that_fails(https(server), "--cacert", certificates.cert("own-authority"))
        says("--cacert with an authority that is the server", message, "the certificate of localhost is that of an authority", "-k")
    with s_server(found, certificates, "self-signed") as server:
        report = run(https(server), "--cacert", certificates.cert("self-signed"), "-n", 1, "-c", 1)
        same("--cacert with the certificate itself: completed", report["requests"]["completed"], 1)


def nothing_in_common(found, certificates):
    """Versions, cipher suites, groups and application protocols."""
    trust = ("--cacert", certificates.ca)
    for server_flags, run_flags, parts in (
        (("-tls1_2",), ("--tls-min", "1.3"), ("localhost speaks none of the TLS versions", "--tls-min")),
        (("-tls1_3",), ("--tls-max", "1.2"), ("localhost speaks none of the TLS versions", "--tls-max")),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), (), ("localhost speaks none of the TLS versions", "--tls-min")),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"), (), ("handshake_failure", "--ciphers")),
        (("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"), ("--ciphers", "TLS_AES_256_GCM_SHA384"), ("handshake_failure", "--ciphers")),
        (("-tls1_3", "-groups", "P-521"), (), ("handshake_failure", "--tls-groups")),
        (("-alpn", "h3"), (), ("localhost speaks none of the application protocols", "--alpn")),
    ):
        with s_server(found, certificates, "ecdsa", *server_flags) as server:
            says(" ".join((*server_flags, *run_flags)), run_that_fails(https(server), *trust, *run_flags), *parts)


def plain_and_tls_mixed_up(found, certificates):
    """https to a port that speaks plain HTTP, and the reverse."""
    with servers.nginx(found, last_core()) as server:
        says("https to nginx in plain", run_that_fails(https(server), "-k"), "localhost does not speak TLS", "'HTTP/1.1 400 Bad Request'",
             "write http:// instead of https://")
    with serve() as upstream:
        says("https to `serve`", run_that_fails(https(upstream), "-k"), "localhost does not speak TLS", "http://")
        for start in (hosts.nginx, hosts.haproxy, hosts.apache, hosts.node, hosts.python):
            with start(found, certificates, upstream.port) as host:
                report = run(host.url(hosts.ECDSA).replace("https", "http"), "-n", 1, "-c", 1)
                # nginx and apache2 explain it in HTTP. The others close without a word.
                explained = start in (hosts.nginx, hosts.apache)
                same(f"http to {start.__name__}: statuses", report["status"], {"400": 1} if explained else {})
                lost = report["errors"]["closed"] + report["errors"]["reset"]
                same(f"http to {start.__name__}: connections lost ({report['errors']})", lost, 0 if explained else 1)
    with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, with_tls(certificates, "ecdsa") as server:
        says("http to `serve --tls`", run_that_fails(f"http://127.0.0.1:{server.port}/"), "https://")
        holds("curl was served over http", Answer(found["curl"], folder, f"http://127.0.0.1:{server.port}/").exit != 0)
        says("what the server says of http", server.errors_so_far(), "the client does not speak TLS: it sent 'GET / HTTP/1.1'")
        answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca)
        same("a proper client after it", (answer.exit, answer.status), (0, 200))


def clients_that_refuse_us(found, certificates):
    """Our server says why a client left: its trust, its versions, its protocols."""
    with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, with_tls(certificates, "ecdsa") as server:
        for version in OPTIONS:
            answer = Answer(found["curl"], folder, https(server), f"--tlsv{version}", "--tls-max", version)
            # CURLE_PEER_FAILED_VERIFICATION.
            same(f"curl without --cacert, TLS {version}: exit", answer.exit, 60)
        says("what the server says", server.errors_so_far(), "the client does not accept this server's certificate (alert unknown_ca)")
        old = [found["openssl"], "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        done = subprocess.run(old, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        says("s_client with TLS 1.1", done.stderr, "alert")
        says("what the server says", server.errors_so_far(), "speaks none of the TLS versions")
        answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca, "--tls-max", "1.2", "--ciphers",
                        "ECDHE-ECDSA-AES128-SHA")
        holds("curl with an old cipher suite was served", answer.exit != 0)
        says("what the server says", server.errors_so_far(), "the client has none of the cipher suites that are enabled here")
        answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca, "--curves", "P-521")
        holds("curl with P-521 alone was served", answer.exit != 0)
        says("what the server says", server.errors_so_far(), "the client has none of the key-exchange groups that are enabled here")
        answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca)
        same("a proper client after them", (answer.exit, answer.status), (0, 200))


PARTIES = (bad_certificates, nothing_in_common, plain_and_tls_mixed_up, clients_that_refuse_us)
