"""Clients of other authors against `ringtide serve --tls`, and against the example `tunnel`, which asks for certificates."""

import json
import subprocess
import tempfile
from pathlib import Path

from benchlib import tools

from .check import Answer, holds, same, says, serve, tunnel
from .python_client import PythonClient

HERE = Path(__file__).resolve().parent
LOAD_REQUESTS = 2_000
VERSIONS = ("1.2", "1.3")
NAMES = ("ecdsa", "rsa")


def with_tls(certificates, name, *flags):
    return serve("--tls", "--cert", certificates.cert(name), "--key", certificates.key(name), *flags)


def https(server, path="/"):
    return f"https://localhost:{server.port}{path}"


def curl_as_tls_client(found, certificates):
    """Both certificates, both versions; several requests on one connection; ALPN; the client is given no choice but one."""
    for name in NAMES:
        with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, with_tls(certificates, name) as server:
            for version in VERSIONS:
                answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca, f"--tlsv{version}",
                                "--tls-max", version, "--verbose", "--http1.1")
                what = f"curl, {name}, TLS {version}"
                same(f"{what}: exit, status, body ({answer.errors})", (answer.exit, answer.status, answer.body),
                     (0, 200, b"hello world\n"))
                says(what, answer.errors, f"SSL connection using TLSv{version}", "ALPN: server accepted http/1.1")
            command = [found["curl"], "--silent", "--noproxy", "*", "--cacert", str(certificates.ca), "--write-out",
                       "%{num_connects}", *[https(server)] * 3]
            done = subprocess.run(command, capture_output=True, text=True)
            same("three requests on one connection", done.stdout, "hello world\n1hello world\n0hello world\n0")


def s_client_as_client(found, certificates):
    """Resumption by a session that was saved; ALPN, and one that we do not have."""
    for name in NAMES:
        with tempfile.TemporaryDirectory(prefix="ringtide-session-") as folder, with_tls(certificates, name) as server:
            for version in VERSIONS:
                what = f"s_client, {name}, TLS {version}"
                session = f"{folder}/{version}"
                saved = s_client(found, certificates, server, version, "-alpn", "http/1.1", "-sess_out", session)
                says(what, saved, "New, TLSv1.", "hello world", "ALPN protocol: http/1.1", "Verify return code: 0 (ok)")
                again = s_client(found, certificates, server, version, "-alpn", "http/1.1", "-sess_in", session)
                says(f"{what}, resumed", again, "Reused, TLSv1.", "hello world")
                without = s_client(found, certificates, server, version)
                says(f"{what}, without ALPN", without, "No ALPN negotiated", "hello world")
                other = s_client(found, certificates, server, version, "-alpn", "h3")
                says(f"{what}, only h3", other, "no application protocol")
                holds(f"{what}, only h3: it got an answer", "hello world" not in other)


def s_client(found, certificates, server, version, *flags):
    """Returns what s_client prints about one request."""
    option = f"-tls{version.replace('.', '_')}" if version == "1.2" else "-tls1_3"
    command = [found["openssl"], "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", option,
               "-CAfile", str(certificates.ca), "-ign_eof", *map(str, flags)]
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return done.stdout.decode(errors="replace")


def node_as_client(found, certificates):
    """Node resumes with its agent's sessions, and speaks to the server that wants certificates."""
    for name in NAMES:
        with with_tls(certificates, name) as server:
            for version in VERSIONS:
                seen = node(found, certificates, server.port, version)
                full = {"protocol": f"TLSv{version}", "alpn": "http/1.1", "status": 200, "body": "hello world\n"}
                same(f"Node, {name}, TLS {version}", seen, [{**full, "resumed": False}] + [{**full, "resumed": True}] * 3)


def node(found, certificates, port, version, *identity):
    command = [found["node"], str(HERE / "client.js"), str(port), str(certificates.ca), f"TLSv{version}", *map(str, identity)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    holds(f"Node: {done.stderr}", done.returncode == 0)
    return [json.loads(line) for line in done.stdout.splitlines()]


def python_as_client(_, certificates):
    for name in NAMES:
        with with_tls(certificates, name) as server:
            for version in VERSIONS:
                what = f"Python, {name}, TLS {version}"
                client = PythonClient(certificates, version)
                for resumed in (False, True, True):
                    with client.connect(server.port) as connection:
                        for _ in range(3):
                            same(what, connection.get("/"), (200, b"hello world\n"))
                        facts = connection.facts()
                    same(f"{what}: facts", facts, (f"TLSv{version}", "http/1.1", resumed))


def client_certificates(found, certificates):
    """Our server asks for certificates: those of its authority are served, none and others are not, and it says so."""
    with serve() as upstream, tunnel("remove", f"127.0.0.1:{upstream.port}", certificates.cert("ecdsa"), certificates.key("ecdsa"),
                                     certificates.ca) as server:
        with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder:
            for version in VERSIONS:
                def ask(*flags):
                    return Answer(found["curl"], folder, https(server), "--cacert", certificates.ca, f"--tlsv{version}",
                                  "--tls-max", version, *flags)

                own = ask("--cert", certificates.cert("client"), "--key", certificates.key("client"))
                same(f"curl with a certificate, TLS {version} ({own.errors})", (own.exit, own.body), (0, b"hello world\n"))
                holds(f"curl without a certificate was served, TLS {version}", ask().exit != 0)
                stranger = ask("--cert", certificates.cert("stranger"), "--key", certificates.key("stranger"))
                holds(f"curl with a stranger's certificate was served, TLS {version}", stranger.exit != 0)
                seen = node(found, certificates, server.port, version, certificates.cert("client"), certificates.key("client"))
                same(f"Node with a certificate, TLS {version}", [line["status"] for line in seen], [200] * 4)
                same(f"Node with a certificate, TLS {version}: resumed", [line["resumed"] for line in seen], [False] + [True] * 3)
        said = server.errors_so_far()
        says("the server, without a certificate", said, "the client has shown no certificate, which this server requires")
        says("the server, with a stranger's", said, "the certificate of the client is not signed by a trusted authority")
        says("the server, with a good one", said, "full alpn=http/1.1", "resumed alpn=http/1.1")
        holds(f"the server has seen no certificate: {said}", "peer_certificates=0" not in said)


def wrk_as_tls_client(found, certificates):
    for path in ("/", "/bytes/100000", "/stream/10"):
        with with_tls(certificates, "ecdsa") as server:
            done = subprocess.run([found["wrk"], "-t1", "-c32", "-d1s", https(server, path)], capture_output=True, text=True, timeout=60)
        reading = tools.read_wrk(done.stdout)
        same(f"wrk {path}: failed", reading["failed"], 0)
        same(f"wrk {path}: completed any", reading["requests"] > 0, True)


def h2load_as_tls_client(found, certificates):
    for name, flags in (("ecdsa", ["-c", "32"]), ("rsa", ["-c", "4", "-m", "8"])):
        with with_tls(certificates, name) as server:
            command = [found["h2load"], "--h1", "-t", "1", *flags, "-n", str(LOAD_REQUESTS), https(server)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        reading = tools.read_h2load(done.stdout)
        same(f"h2load {' '.join(flags)}: completed, failed", (reading["requests"], reading["failed"]), (LOAD_REQUESTS, 0))
        says("h2load", done.stdout, "TLS Protocol: TLSv1.3", "Application protocol: http/1.1")


def oha_as_tls_client(found, certificates):
    for flags in ((), ("--disable-keepalive",)):
        with with_tls(certificates, "ecdsa") as server:
            command = [found["oha"], "--no-tui", "--output-format", "json", "--insecure", "-c", "8", "-n", "400", *flags, https(server)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            holds(f"oha exited with {done.returncode}: {done.stderr}", done.returncode == 0)
        reading = json.loads(done.stdout)
        same(f"oha {' '.join(flags)}: statuses, errors", (reading["statusCodeDistribution"], reading["errorDistribution"]), ({"200": 400}, {}))


PARTIES = (curl_as_tls_client, s_client_as_client, node_as_client, python_as_client, client_certificates, wrk_as_tls_client,
           h2load_as_tls_client, oha_as_tls_client)
