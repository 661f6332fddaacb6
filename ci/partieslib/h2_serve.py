"""HTTP/2 clients of other authors against `ringtide serve`: by prior knowledge, by ALPN, and by an upgrade that is not answered."""

import hashlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from benchlib import tools
from benchlib.servers import free_port

from .check import RINGTIDE, Answer, holds, same, says, serve
from .tls_serve import https, with_tls

HERE = Path(__file__).resolve().parent
LOAD_REQUESTS = 2_000
# Around the first window of a stream, 65,535 bytes (RFC 9113 §6.9.2), and the largest frame, 16,384 (§4.2).
SIZES = (0, 1, 16_384, 16_385, 65_535, 65_536, 3_000_001)
CLIENT_SECONDS_MAX = 60
HTTPWG_TESTS = 107


def both(certificates):
    """Returns of the two ways to HTTP/2: a name, how the server is started, and how its URLs are made."""
    return (
        ("prior knowledge", serve, lambda server, path="/": server.url(path)),
        ("TLS", lambda *flags: with_tls(certificates, "ecdsa", *flags), https),
    )


def run(what, command, **options):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=CLIENT_SECONDS_MAX, **options)
    holds(f"{what} exited with {done.returncode}: {done.stderr[-1000:] or done.stdout[-1000:]}", done.returncode == 0)
    return done.stdout


def curl_as_h2_client(found, certificates):
    """curl requests the paths of `ringtide serve`, on both drivers."""
    for name, start, url in both(certificates):
        version = ("--http2-prior-knowledge",) if start is serve else ("--http2", "--cacert", certificates.ca)
        for driver in ("auto", "fallback"):
            with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, start("--driver", driver) as server:
                what = f"curl, {name}, driver {driver}"

                def ask(path, *flags):
                    answer = Answer(found["curl"], folder, url(server, path), *version, *flags)
                    same(f"{what}, {path} {' '.join(flags)}: exit, version ({answer.errors})", (answer.exit, answer.version), (0, "2"))
                    return answer

                root = ask("/")
                same(f"{what}: /", (root.status, root.body, root.fields.get("content-length")), (200, b"hello world\n", "12"))
                head = ask("/", "--head")
                same(f"{what}: HEAD /", (head.status, head.fields.get("content-length")), (200, "12"))
                for status in (200, 204, 304, 404, 503):
                    same(f"{what}: /status/{status}", ask(f"/status/{status}").status, status)
                for count in (0, 1, 5_000):
                    same(f"{what}: /stream/{count}", ask(f"/stream/{count}").body, b"hello world\n" * count)
                seen = ask("/headers", "--header", "X-Party: curl was here").body.decode().lower()
                says(f"{what}: /headers", seen, "x-party: curl was here")
                for size in SIZES:
                    same(f"{what}: /bytes/{size}", len(ask(f"/bytes/{size}").body), size)
                    body = os.urandom(size)
                    file = Path(folder) / "sent"
                    file.write_bytes(body)
                    for flags in ((), ("--header", "Content-Length:"), ("--header", "Expect: 100-continue")):
                        answer = ask("/echo", "--data-binary", f"@{file}", *flags)
                        same(f"{what}: /echo of {size} bytes {' '.join(flags)}", (answer.status, digest(answer.body)), (200, digest(body)))


def no_upgrade_to_h2(found, _):
    """`Upgrade: h2c` has no answer (RFC 9113 §3.1): the request is answered in HTTP/1.1."""
    with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, serve() as server:
        answer = Answer(found["curl"], folder, server.url(), "--http2")
        same("curl --http2: exit, version, body", (answer.exit, answer.version, answer.body), (0, "1.1", b"hello world\n"))


def alpn_decides_on_h2(found, certificates):
    """The server prefers HTTP/2, and a client that has only one version gets it. Both keep their connection."""
    with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, with_tls(certificates, "ecdsa") as server:
        for flags, version in (((), "2"), (("--http1.1",), "1.1"), (("--no-alpn",), "1.1")):
            answer = Answer(found["curl"], folder, https(server), "--cacert", certificates.ca, *flags)
            same(f"curl {flags}: exit, version", (answer.exit, answer.version), (0, version))
            many = run("curl", [found["curl"], "--silent", "--noproxy", "*", "--cacert", certificates.ca, *flags, "--write-out",
                                "%{num_connects}", *[https(server)] * 3])
            same(f"curl {flags}: three requests on one connection", many, "hello world\n1hello world\n0hello world\n0")


def h2load_as_h2_client(found, certificates):
    for name, start, url in both(certificates):
        with tempfile.NamedTemporaryFile(prefix="ringtide-body-") as file:
            file.write(os.urandom(100_000))
            file.flush()
            for path, count, flags in (
                ("/", LOAD_REQUESTS, ("-c", 4, "-m", 100)),
                ("/bytes/100000", 200, ("-c", 2, "-m", 16)),
                # Windows of 2^10-1 bytes: each response waits for many updates.
                ("/bytes/100000", 20, ("-c", 1, "-m", 4, "-w", 10, "-W", 12)),
                ("/stream/100", 200, ("-c", 2, "-m", 16)),
                ("/echo", 200, ("-c", 2, "-m", 16, "-d", file.name)),
                ("/", LOAD_REQUESTS, ("-c", 4, "-m", 100, "--header-table-size", 0)),
            ):
                with start() as server:
                    text = run("h2load", [found["h2load"], "-t", 1, *flags, "-n", count, url(server, path)])
                what = f"h2load, {name}, {path} {' '.join(map(str, flags))}"
                reading = tools.read_h2load(text)
                same(f"{what}: completed, failed", (reading["requests"], reading["failed"]), (count, 0))
                says(what, text, f"status codes: {count} 2xx, 0 3xx", "Application protocol: h2" + ("c" if start is serve else ""))


def nghttp_as_h2_client(found, certificates):
    """What other clients do not do: padding, CONTINUATION, trailers, small tables, 100-continue."""
    for name, start, url in both(certificates):
        with tempfile.NamedTemporaryFile(prefix="ringtide-body-") as file, start() as server:
            file.write(b"0123456789" * 10_000)
            file.flush()
            for flags in (
                ("-m", 100),
                ("--continuation", "-m", 10),
                ("--padding", 200, "-m", 10),
                ("--header-table-size", 0),
                ("--header-table-size", 65_536, "--encoder-header-table-size", 0, "-m", 20),
                ("--window-bits", 5, "--connection-window-bits", 17),
            ):
                text = run("nghttp", [found["nghttp"], "-v", "-n", "-y", *flags, url(server)])
                count = flags[flags.index("-m") + 1] if "-m" in flags else 1
                same(f"nghttp, {name} {flags}: responses", len(re.findall(r"\(stream_id=\d+\) :status: 200", text)), count)
                same(f"nghttp, {name} {flags}: bytes", sum(map(int, re.findall(r"recv DATA frame <length=(\d+)", text))), 12 * count)
            for flags in ((), ("--padding", 100), ("--trailer", "x-end: yes"), ("--expect-continue",), ("--no-content-length",)):
                text = run("nghttp", [found["nghttp"], "-y", "--data", file.name, *flags, url(server, "/echo")])
                same(f"nghttp, {name} {flags}: /echo", digest(text.encode()), digest(b"0123456789" * 10_000))


def node_as_h2_client(found, certificates):
    """Many streams at once on one connection, of which some are cancelled; pings; the end of the session."""
    for name, start, url in both(certificates):
        with start() as server:
            seen = json.loads(run("Node", [found["node"], HERE / "http2_client.js", url(server), certificates.ca]))
        same(f"Node, {name}", seen, {
            "alpn": "h2c" if start is serve else "h2", "pings": 3, "echoed": 200, "cancelled": 50, "answered": 200,
            "slow": 20, "closed": True,
        })


def httpx_as_h2_client(found, certificates):
    with with_tls(certificates, "ecdsa") as server:
        seen = json.loads(run("httpx", [python_of(found), "-B", HERE / "httpx_client.py", https(server), certificates.ca]))
    same("httpx", seen, {"versions": ["HTTP/2"], "hellos": 200, "echoes": 50, "bytes": 1_048_576, "missing": 404})


def python_of(found):
    """Returns the interpreter that has the packages of hypercorn and httpx."""
    return Path(found["hypercorn"]).resolve().parent / "python"


def chromium_as_h2_client(found, certificates):
    """A page that fetches. What it shows is what arrived, and Chromium's log says by which protocol."""
    with with_tls(certificates, "ecdsa") as server, tempfile.TemporaryDirectory(prefix="ringtide-chromium-") as folder:
        page, log = Path(folder) / "page.html", Path(folder) / "net.json"
        page.write_text((HERE / "fetch.html").read_text().replace("ORIGIN", https(server, "")))
        # The page is a file, so its origin is another; and the certificate's authority is nobody's.
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-web-security", "--ignore-certificate-errors",
                 "--no-proxy-server", "--virtual-time-budget=20000", "--dump-dom", f"--user-data-dir={folder}/profile",
                 f"--log-net-log={log}")
        shown = run("chromium", [found["chromium"], *flags, page.as_uri()])
        result = re.search(r"<pre>(.*)</pre>", shown, re.S)
        holds(f"chromium shows no result: {shown[-500:]!r}", result)
        same("chromium", json.loads(result[1]), {"hellos": 100, "echoes": 20, "bytes": 1_048_576, "missing": 404})
        session = json.loads(log.read_text())
        names = {number: name for name, number in session["constants"]["logEventTypes"].items()}
        kinds = [names[event["type"]] for event in session["events"]]
        holds("chromium did not use HTTP/2", "HTTP2_SESSION_INITIALIZED" in kinds)


# Not judged, with the reasons.
EARLY = "the server answers `/` without waiting for the body, and asks for no more of it by NO_ERROR (RFC 9113 §8.1)"
NOT_JUDGED = {
    "4. http frames :: frame exceeding max size": EARLY,
    "5. streams and multiplexing :: closed sends continuation frame after rst stream": EARLY,
    "5. streams and multiplexing :: closed sends data frame after rst stream": EARLY,
    "5. streams and multiplexing :: closed sends headers frame after rst stream": EARLY,
    "5. streams and multiplexing :: sends smaller stream identifier": "STREAM_CLOSED (§5.1) as well as PROTOCOL_ERROR (§5.1.1)",
    "6. frame definitions :: sends multiple window update frames increasing flow control window above max on stream": EARLY,
    "6. frame definitions :: sends priority frame with invalid length": "the stream has ended by then",
    "8. expressing http semantics in http2 :: sends headers frame with incorrect content length multiple data frames": EARLY,
    "8. expressing http semantics in http2 :: sends headers frame with incorrect content length single data frame": EARLY,
    "8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer": EARLY,
    "8. expressing http semantics in http2 :: sends second headers frame without end stream": EARLY,
}


def httpwg_as_h2_client(found, _):
    """The tests of the conformance client httpwg, which starts the server itself. It gives a server little time, so a busy
    machine gets three tries."""
    for last in (False, False, True):
        said, passed, failed = httpwg(found)
        if len(passed | failed) >= HTTPWG_TESTS and not failed - NOT_JUDGED.keys():
            break
        if last:
            holds(f"httpwg ran only {len(passed | failed)} tests: {said[-500:]}", len(passed | failed) >= HTTPWG_TESTS)
            same("httpwg: failed", sorted(failed - NOT_JUDGED.keys()), [])
    print(f"NOT CHECKED: {len(NOT_JUDGED)} of {HTTPWG_TESTS} tests of httpwg: see NOT_JUDGED in ci/partieslib/h2_serve.py")


def httpwg(found):
    """Runs it once. Returns what it said, and the tests that passed and failed."""
    address = f"127.0.0.1:{free_port()}"
    command = [found["httpwg"], "--address", address, "--", RINGTIDE, "serve", "--addr", address, "--threads", "1"]
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=CLIENT_SECONDS_MAX)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return said, *(set(re.findall(rf"Test {how}: RFC 9113 :: (.*)$", said, re.M)) for how in ("passed", "failed"))


def digest(body):
    return hashlib.sha256(body).hexdigest()


PARTIES = (curl_as_h2_client, no_upgrade_to_h2, alpn_decides_on_h2, h2load_as_h2_client, nghttp_as_h2_client, node_as_h2_client,
           httpx_as_h2_client, chromium_as_h2_client, httpwg_as_h2_client)
