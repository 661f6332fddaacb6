"""Bodies around the size of a record, both ways, with a length and in chunks, byte for byte."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from . import hosts
from .check import GET, Answer, holds, run, same, serve, tunnel
from .tls_serve import https, with_tls

# The most that a record carries is 16,384 bytes (RFC 8446 §5.1).
SIZES = (0, 1, 16_383, 16_384, 16_385, 1_048_576)
# A server that answers while it still reads, and one that does not care, need time for the largest.
SECONDS_MAX = 15
VERSIONS = ("1.2", "1.3")

BLOCK_LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+\n"


def bodies_to_our_server(found, certificates):
    """curl posts to `/echo` and gets `/bytes/N` and `/stream/N` of `ringtide serve --tls`."""
    for driver in ("auto", "fallback"):
        with with_tls(certificates, "ecdsa", "--driver", driver) as server:
            for version in VERSIONS:
                flags = ("--cacert", certificates.ca, f"--tlsv{version}", "--tls-max", version)
                echo(found, https(server, "/echo"), f"TLS {version}, driver {driver}", *flags)
    with with_tls(certificates, "ecdsa") as server:
        with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder:
            for size in SIZES:
                answer = Answer(found["curl"], folder, https(server, f"/bytes/{size}"), "--cacert", certificates.ca)
                expected = (BLOCK_LINE * (size // len(BLOCK_LINE) + 1))[:size]
                same(f"/bytes/{size}", (answer.exit, digest(answer.body)), (0, digest(expected)))
            for count in (1, 100, 5_000):
                answer = Answer(found["curl"], folder, https(server, f"/stream/{count}"), "--cacert", certificates.ca)
                same(f"/stream/{count}", (answer.exit, digest(answer.body)), (0, digest(b"hello world\n" * count)))


def bodies_from_our_client(found, certificates):
    """curl posts in plain to the tunnel, whose TLS client is ours. Foreign servers echo, or have our plain server do so."""
    for start in (hosts.nginx, hosts.haproxy, hosts.apache, hosts.node, hosts.python):
        with serve() as upstream, start(found, certificates, upstream.port) as host, tunnel(
            "add", "localhost", host.address(hosts.ECDSA), certificates.ca
        ) as client:
            what = start.__name__
            try:
                echo(found, f"http://127.0.0.1:{client.port}/echo", what)
            except AssertionError as error:
                raise AssertionError(f"{error} (the tunnel: {client.errors_so_far()[-500:]})") from error


def bodies_of_the_client(found, certificates):
    """The engine's HTTP client gets `/bytes/N` and `/stream/N` from nginx; `ringtide run` posts, and Node sends it all back."""
    environment = {**os.environ, "SSL_CERT_FILE": str(certificates.ca)}
    with serve() as upstream, hosts.nginx(found, certificates, upstream.port) as host:
        wanted = [(f"/bytes/{size}", (BLOCK_LINE * (size // len(BLOCK_LINE) + 1))[:size]) for size in SIZES]
        wanted += [(f"/stream/{count}", b"hello world\n" * count) for count in (1, 100, 5_000)]
        for path, body in wanted:
            done = subprocess.run([str(GET), host.url(hosts.RSA, path)], env=environment, capture_output=True, timeout=20)
            holds(f"get {path}: {done.stderr}", done.returncode == 0)
            same(f"get {path}", digest(done.stdout.partition(b"\n\n")[2]), digest(body))
    with hosts.node(found, certificates, 0) as host, tempfile.NamedTemporaryFile(prefix="ringtide-body-") as file:
        for size in SIZES[1:]:
            file.truncate(0)
            file.seek(0)
            file.write(os.urandom(size))
            file.flush()
            report = run(host.url(hosts.ECDSA), "--cacert", certificates.ca, "-n", 20, "-c", 2, "-m", "POST", "-b", f"@{file.name}")
            same(f"POST of {size} bytes: statuses", report["status"], {"200": 20})
            holds(f"POST of {size} bytes: only {report['bytes_received']} came back", report["bytes_received"] >= 20 * size)
            holds(f"POST of {size} bytes: only {report['bytes_sent']} were sent", report["bytes_sent"] >= 20 * size)


def echo(found, url, what, *flags):
    with tempfile.TemporaryDirectory(prefix="ringtide-echo-") as folder:
        for size in SIZES:
            body = os.urandom(size)
            file = Path(folder) / "sent"
            file.write_bytes(body)
            for extra in ((), ("--header", "Transfer-Encoding: chunked")):
                answer = Answer(found["curl"], folder, url, "--data-binary", f"@{file}", "--header", "Expect:", *extra, *flags,
                                seconds_max=SECONDS_MAX)
                seen = (answer.exit, answer.status, len(answer.body), digest(answer.body))
                same(f"{what}, {size} bytes {' '.join(extra)} ({answer.errors})", seen, (0, 200, size, digest(body)))


def digest(body):
    return hashlib.sha256(body).hexdigest()


PARTIES = (bodies_to_our_server, bodies_from_our_client, bodies_of_the_client)
