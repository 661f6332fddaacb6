"""Plain HTTP with nginx and Python's http.server as servers, and curl, wrk and h2load as clients. The comparisons are exact:
the other side must have seen exactly what ringtide reports.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchlib import servers, tools
from benchlib.process import Server

from .check import Answer, counts, last_core, run, same, serve

REQUESTS = 10_000
CURL_TIMEOUT = 5
CURL_TIMED_OUT = 28


def nginx_as_server(found):
    """nginx logs exactly what `run` reports: the number of requests, the method, the status."""
    for flags, method, requests in (
        (("-c", "16"), "GET", REQUESTS),
        (("-c", "16", "-p", "4"), "GET", REQUESTS),
        (("-c", "16", "--no-keepalive"), "GET", REQUESTS // 10),
        (("-c", "16", "-m", "POST", "-b", "a body"), "POST", REQUESTS // 10),
        (("-c", "16", "--driver", "fallback"), "GET", REQUESTS),
    ):
        with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
            log = Path(folder) / "access.log"
            with servers.nginx(found, last_core(), access_log=log) as server:
                report = run(server.url(), "-n", str(requests), *flags)
            what = f"nginx, {' '.join(flags)}"
            same(f"{what}: sent, completed, failed", counts(report), (requests, requests, 0))
            same(f"{what}: statuses", report["status"], {"200": requests})
            lines = log.read_text().splitlines()
            same(f"{what}: the log of nginx", (len(lines), set(lines)), (requests, {f"{method} 200"}))


def python_as_server(_):
    """An HTTP/1.0 server: it closes after each response, so each request needs a new connection."""
    requests = 200
    port = servers.free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-python-") as folder:
        (Path(folder) / "file").write_bytes(b"x" * 100_000)
        command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", folder]
        with Server("http.server", command, last_core(), port) as server:
            report = run(server.url("/file"), "-n", str(requests), "-c", "4")
            missing = run(server.url("/missing"), "-n", "20", "-c", "4")
            logged = server.errors_so_far().count('"GET /file HTTP/1.1" 200')
        same("http.server: sent, completed, failed", counts(report), (requests, requests, 0))
        same("http.server: statuses", report["status"], {"200": requests})
        same("http.server: its log", logged, requests)
        same("http.server: statuses of a missing file", missing["status"], {"404": 20})


def curl_as_client(found):
    """curl requests every path of `ringtide serve`."""
    with tempfile.TemporaryDirectory(prefix="ringtide-curl-") as folder, serve() as server:

        def ask(path, *flags):
            answer = Answer(found["curl"], folder, server.url(path), *flags)
            same(f"curl {' '.join(flags)} {path}: exit code ({answer.errors})", answer.exit, 0)
            return answer

        root = ask("/")
        same("/", (root.status, root.body, root.fields.get("content-length")), (200, b"hello world\n", "12"))
        head = ask("/", "--head")
        same("HEAD /", (head.status, head.body.split(b"\r\n\r\n")[1:], head.fields.get("content-length")), (200, [b""], "12"))
        old = ask("/", "--http1.0")
        same("/ by HTTP/1.0", (old.status, old.body), (200, b"hello world\n"))

        for size in (0, 1, 65_536, 1_048_576):
            answer = ask(f"/bytes/{size}")
            length = answer.fields.get("content-length")
            same(f"/bytes/{size}", (answer.status, len(answer.body), length), (200, size, str(size)))

        delayed = ask("/delay/200")
        same("/delay/200: status", delayed.status, 200)
        if not 0.2 <= delayed.seconds < 2:
            raise AssertionError(f"/delay/200 took {delayed.seconds} s")

        for status in (200, 204, 304, 404, 503):
            same(f"/status/{status}", ask(f"/status/{status}").status, status)
        same("a path that does not exist", ask("/no-such-path").status, 404)

        echo(ask)

        fields = ask("/headers", "--header", "X-Party: curl was here").body.decode().lower()
        if "x-party" not in fields or "curl was here" not in fields:
            raise AssertionError(f"/headers does not return a header that curl sent: {fields!r}")

        for count in (0, 1, 100):
            answer = ask(f"/stream/{count}")
            coding = answer.fields.get("transfer-encoding")
            same(f"/stream/{count}", (answer.status, coding), (200, "chunked"))
            same(f"/stream/{count}: has a body", len(answer.body) > 0, count > 0)
            if len(answer.body) < count:
                raise AssertionError(f"/stream/{count} sent only {len(answer.body)} bytes")

        for _ in range(20):
            same("/flaky?p=0", ask("/flaky?p=0").status, 200)
        for _ in range(5):
            answer = Answer(found["curl"], folder, server.url("/flaky?p=1"), seconds_max=1)
            failed = answer.status == 500 or answer.exit in (CURL_TIMED_OUT, 52, 56, 18)
            same(f"/flaky?p=1 fails (status {answer.status}, exit {answer.exit})", failed, True)

        # curl reuses its connection, so these are several requests on one.
        many = [found["curl"], "--silent", "--noproxy", "*", "--max-time", str(CURL_TIMEOUT), "--write-out",
                "%{num_connects}", *[server.url("/")] * 3]
        done = subprocess.run(many, capture_output=True, text=True)
        same("three requests on one connection", done.stdout, "hello world\n1hello world\n0hello world\n0")


def echo(ask):
    """Bodies come back byte for byte: with a length, in chunks, and after 100 Continue."""
    with tempfile.NamedTemporaryFile(prefix="ringtide-echo-") as file:
        for size in (0, 1, 4096, 3_000_001):
            body = os.urandom(size)
            file.seek(0)
            file.truncate()
            file.write(body)
            file.flush()
            for flags in ((), ("--header", "Transfer-Encoding: chunked"), ("--header", "Expect: 100-continue")):
                answer = ask("/echo", "--data-binary", f"@{file.name}", *flags)
                seen = (answer.status, hashlib.sha256(answer.body).hexdigest())
                same(f"/echo of {size} bytes {' '.join(flags)}", seen, (200, hashlib.sha256(body).hexdigest()))


def wrk_as_client(found):
    for path in ("/", "/bytes/100000", "/stream/10"):
        with serve() as server:
            command = [found["wrk"], "-t1", "-c64", "-d1s", server.url(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        reading = tools.read_wrk(done.stdout)
        same(f"wrk {path}: failed", reading["failed"], 0)
        same(f"wrk {path}: completed any", reading["requests"] > 0, True)


def h2load_as_client(found):
    for flags in (["-c", "64"], ["-c", "8", "-m", "8"]):
        with serve() as server:
            command = [found["h2load"], "--h1", "-t", "1", *flags, "-n", str(REQUESTS), server.url()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        reading = tools.read_h2load(done.stdout)
        same(f"h2load {' '.join(flags)}: completed, failed", (reading["requests"], reading["failed"]), (REQUESTS, 0))
