"""What happens in the middle of a connection, typed into `openssl s_server` and `s_client`: key updates, renegotiation,
small records; and connections that end without close_notify, as Python's ssl module ends them.
"""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from .bodies import digest
from .check import GET, RINGTIDE, holds, report_of, run, same, says
from .python_client import PythonClient
from .tls_serve import with_tls

SECONDS_MAX = 10
UPDATES = 5
OPTIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
# How openssl logs a message (-msg): << is what it received.
SENT_UPDATE, RECEIVED_UPDATE = ">>> TLS 1.3, Handshake [length 0005], KeyUpdate", "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Dialogue:
    """A process that is typed to. openssl takes a letter as a command if it begins what one read returns, so wait for the
    effect of what was typed before."""

    def __init__(self, *command, cwd=None):
        self.command, self.cwd = [str(part) for part in command], cwd
        self.said = b""

    def __enter__(self):
        self.process = subprocess.Popen(self.command, cwd=self.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
        self.listener.join()
        self.process.stdout.close()

    def _listen(self):
        while piece := os.read(self.process.stdout.fileno(), 65_536):
            self.said += piece

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait_for(self, text, count=1):
        """Waits until it has said that so often."""
        give_up = time.monotonic() + SECONDS_MAX
        while self.said.count(text.encode()) < count:
            if time.monotonic() > give_up:
                raise AssertionError(f"{self.command[1]} did not say {text!r} {count} times: {self.said[-1500:].decode(errors='replace')!r}")
            time.sleep(0.005)

    def port(self):
        """The port at which s_server listens."""
        self.wait_for("ACCEPT 127.0.0.1:")
        give_up = time.monotonic() + SECONDS_MAX
        while not (found := re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)\s", self.said)):
            holds("s_server names no port", time.monotonic() < give_up)
        return int(found[1])


def s_server(found, certificates, version, *flags, cwd=None):
    return Dialogue(found["openssl"], "s_server", "-accept", "127.0.0.1:0", "-cert", certificates.cert("ecdsa"), "-key",
                    certificates.key("ecdsa"), OPTIONS[version], *flags, cwd=cwd)


def s_client(found, certificates, server, version, *flags):
    return Dialogue(found["openssl"], "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", "-CAfile",
                    certificates.ca, OPTIONS[version], *flags)


@contextlib.contextmanager
def running(port, certificates, *flags):
    """`ringtide run` in the background."""
    command = [str(RINGTIDE), "run", f"https://localhost:{port}/", "--cacert", str(certificates.ca), "-c", "1", "-t", "1", "--format",
               "json", "--quiet", *map(str, flags)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def report():
        process.stdout_text, process.stderr_text = process.communicate(timeout=SECONDS_MAX)
        return report_of(subprocess.CompletedProcess(command, process.returncode, process.stdout_text, process.stderr_text))

    try:
        yield report
    finally:
        process.kill()
        process.communicate()


def answer(text):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def key_update_by_the_server(found, certificates):
    """`K` changes the keys of both directions, `k` those of one. Requests go on, on one connection, and the first one after
    `K` comes behind the update that it asks for (RFC 8446 §4.6.3).
    """
    with s_server(found, certificates, "1.3", "-msg") as server, running(server.port(), certificates, "-n", 2 * UPDATES) as report:
        for count in range(UPDATES):
            for index, letter in enumerate("Kk"):
                server.wait_for("GET / HTTP/1.1", 2 * count + index + 1)
                server.type(f"{letter}\n".encode())
                server.wait_for(SENT_UPDATE, 2 * count + index + 1)
                server.type(answer("updated"))
        requests = (seen := report())["requests"]
        same("completed, failed", (requests["completed"], requests["failed"]), (2 * UPDATES, 0))
        same("handshakes", seen["tls"]["handshakes_full"], 1)
        same("answers to `K`", server.said.count(RECEIVED_UPDATE.encode()), UPDATES)


def key_update_by_the_client(found, certificates):
    with with_tls(certificates, "ecdsa") as server, s_client(found, certificates, server, "1.3", "-msg") as client:
        client.wait_for("Verify return code: 0 (ok)")
        for count in range(UPDATES):
            for index, letter in enumerate("Kk"):
                client.type(f"{letter}\n".encode())
                client.wait_for(SENT_UPDATE, 2 * count + index + 1)
                client.type(REQUEST)
                client.wait_for("hello world", 2 * count + index + 1)
                client.wait_for(RECEIVED_UPDATE, count + 1)
        same("answers to `K`", client.said.count(RECEIVED_UPDATE.encode()), UPDATES)


def renegotiation_by_the_client(found, certificates):
    """Our server refuses, and goes on to serve others."""
    with with_tls(certificates, "ecdsa") as server:
        with s_client(found, certificates, server, "1.2", "-msg") as client:
            client.wait_for("Verify return code: 0 (ok)")
            client.type(REQUEST)
            client.wait_for("hello world")
            client.type(b"R\n")
            client.wait_for("RENEGOTIATING")
            client.wait_for("warning no_renegotiation")
            client.wait_for("no renegotiation:")
        with PythonClient(certificates, "1.2").connect(server.port) as connection:
            same("another client", connection.get("/"), (200, b"hello world\n"))


def renegotiation_by_the_server(found, certificates):
    """Our client refuses. OpenSSL ends the connection for that; the run goes on with another."""
    with s_server(found, certificates, "1.2", "-msg") as server, running(server.port(), certificates, "-n", 3) as report:
        server.wait_for("GET / HTTP/1.1")
        server.type(answer("first"))
        server.wait_for("GET / HTTP/1.1", 2)
        server.type(b"r\n")
        server.wait_for("warning no_renegotiation")
        server.wait_for("GET / HTTP/1.1", 3)
        server.type(answer("third"))
        requests = (seen := report())["requests"]
        same("completed, failed", (requests["completed"], requests["failed"]), (2, 1))
        holds(f"errors: {seen['errors']}", seen["errors"]["closed"] + seen["errors"]["tls"] + seen["errors"]["reset"] == 1)


def retried_hello(found, certificates):
    """A HelloRetryRequest each way, as OpenSSL logs it: two hellos of the client."""
    with s_server(found, certificates, "1.3", "-msg", "-groups", "P-384") as server, running(server.port(), certificates, "-n", 1) as report:
        server.wait_for("GET / HTTP/1.1")
        server.type(answer("retried"))
        same("completed", report()["requests"]["completed"], 1)
        same("hellos of our client", server.said.count(b", ClientHello"), 2)
    # It sends a share of a group that we do not have, and has one that we do have.
    with with_tls(certificates, "rsa") as server, s_client(found, certificates, server, "1.3", "-msg", "-groups", "P-521:P-256") as client:
        client.wait_for("Verify return code: 0 (ok)")
        client.type(REQUEST)
        client.wait_for("hello world")
        same("hellos to our server", client.said.count(b", ClientHello"), 2)


def small_records(found, certificates):
    """Records of 512 bytes: 1 MiB from s_server to our client, 256 KiB from s_client to our server and back."""
    small = ("-max_send_frag", 512, "-split_send_frag", 512)
    environment = {**os.environ, "SSL_CERT_FILE": str(certificates.ca)}
    for version in OPTIONS:
        with tempfile.TemporaryDirectory(prefix="ringtide-records-") as folder:
            body = os.urandom(1_048_576)
            (Path(folder) / "body").write_bytes(body)
            with s_server(found, certificates, version, "-WWW", *small, cwd=folder) as server:
                done = subprocess.run([str(GET), f"https://localhost:{server.port()}/body"], env=environment, capture_output=True, timeout=20)
                holds(f"get, TLS {version}: {done.stderr}", done.returncode == 0)
                same(f"get, TLS {version}", digest(done.stdout.partition(b"\n\n")[2]), digest(body))
        # Letters that begin a line are commands only if a read begins with them; -ign_eof switches them off.
        body = os.urandom(131_072).hex().encode()
        head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with with_tls(certificates, "rsa") as server, s_client(
            found, certificates, server, version, "-quiet", *small
        ) as client:
            client.type(head + body)
            client.wait_for(body[-64:].decode())
            holds(f"s_client, TLS {version}: another body came back", body in client.said)


def end_without_close_notify(found, certificates):
    """Accepted after a response with a length, and an error after one that lasts until the end."""
    whole = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwhole"
    open_end = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nis this all?"
    for version in OPTIONS:
        with CuttingServer(certificates, version, whole) as server:
            report = run(server.url, "--cacert", certificates.ca, "-n", 20, "-c", 2, "-t", 1)
            same(f"TLS {version}, with a length: completed", report["requests"]["completed"], 20)
            same(f"TLS {version}, with a length: errors", sum(report["errors"].values()), 0)
        with CuttingServer(certificates, version, open_end) as server:
            report = run(server.url, "--cacert", certificates.ca, "-n", 20, "-c", 2, "-t", 1)
            same(f"TLS {version}, until the end: completed", report["requests"]["completed"], 0)
            says(f"TLS {version}, until the end", str(report["error_examples"]), "close_notify")
        with CuttingServer(certificates, version, open_end, says_goodbye=True) as server:
            report = run(server.url, "--cacert", certificates.ca, "-n", 5, "-c", 2, "-t", 1)
            same(f"TLS {version}, until close_notify: completed", report["requests"]["completed"], 5)
    # The other way round: clients that leave like that are no failure.
    with with_tls(certificates, "ecdsa") as server:
        for version in OPTIONS:
            for _ in range(5):
                client = PythonClient(certificates, version)
                with client.connect(server.port) as connection:
                    same("a client", connection.get("/"), (200, b"hello world\n"))
        same("what the server says of clients that leave", server.errors_so_far(), "")


class CuttingServer:
    """Sends one response on each connection, then closes the socket under the session."""

    def __init__(self, certificates, version, response, says_goodbye=False):
        self.response, self.says_goodbye = response, says_goodbye
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates.cert("ecdsa"), certificates.key("ecdsa"))
        exact = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
        self.context.minimum_version = self.context.maximum_version = exact

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://localhost:{self.listener.getsockname()[1]}/"
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _serve(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(accepted,), daemon=True).start()

    def _answer(self, accepted):
        accepted.settimeout(SECONDS_MAX)
        with contextlib.suppress(OSError), self.context.wrap_socket(accepted, server_side=True) as stream:
            while b"\r\n\r\n" not in stream.recv(65_536):
                pass
            stream.sendall(self.response)
            if self.says_goodbye:
                stream.unwrap()


PARTIES = (key_update_by_the_server, key_update_by_the_client, renegotiation_by_the_client, renegotiation_by_the_server,
           retried_hello, small_records, end_without_close_notify)
