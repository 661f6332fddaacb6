"""`ringtide run --proxy` through proxies of other authors: tinyproxy for CONNECT, microsocks for SOCKS5. What nginx behind them
logs is what the run reports.
"""

import contextlib
import tempfile
from pathlib import Path

from benchlib import servers
from benchlib.process import Server
from benchlib.servers import free_port

from . import hosts
from .check import counts, holds, last_core, run, run_that_fails, same, says, serve

REQUESTS = 500
USER, PASSWORD = "who", "secret-word"

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 30
MaxClients 100
LogFile "{folder}/log"
LogLevel Connect
"""


@contextlib.contextmanager
def tinyproxy(found, credentials):
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-tinyproxy-") as folder:
        configuration = Path(folder) / "tinyproxy.conf"
        text = TINYPROXY.format(port=port, folder=folder)
        configuration.write_text(text + (f"BasicAuth {USER} {PASSWORD}\n" if credentials else ""))
        with Server("tinyproxy", [found["tinyproxy"], "-d", "-c", str(configuration)], last_core(), port):
            yield port, lambda: (Path(folder) / "log").read_text(errors="replace").count("CONNECT localhost")


@contextlib.contextmanager
def microsocks(found, credentials):
    port = free_port()
    flags = ["-u", USER, "-P", PASSWORD] if credentials else []
    with Server("microsocks", [found["microsocks"], "-i", "127.0.0.1", "-p", str(port), *flags], last_core(), port) as proxy:
        # A line for each client. It says `connected to`, with the name or address that it was asked for.
        yield port, lambda: proxy.errors_so_far().count("connected to")


def connect_by_tinyproxy(found, certificates):
    for credentials in (False, True):
        with tinyproxy(found, credentials) as (port, tunnels):
            through(found, certificates, "http", port, credentials, tunnels)
            closed = free_port()
            said = run_that_fails(f"http://localhost:{closed}/", "--proxy", url("http", port, credentials))
            says("a port where nobody listens", said, f"the proxy 127.0.0.1:{port} refused the tunnel to localhost:{closed}: ", "500")
            if credentials:
                server = f"http://localhost:{closed}/"
                says("no credentials", run_that_fails(server, "--proxy", url("http", port, False)), "40")
                wrong = f"http://{USER}:not-it@127.0.0.1:{port}"
                said = run_that_fails(server, "--proxy", wrong)
                says("wrong credentials", said, f"the proxy 127.0.0.1:{port} refused the tunnel to localhost:{closed}: ", "40")
                holds("the password is shown", "not-it" not in said)


def socks_by_microsocks(found, certificates):
    for credentials in (False, True):
        with microsocks(found, credentials) as (port, tunnels):
            for scheme in ("socks5", "socks5h"):
                through(found, certificates, scheme, port, credentials, tunnels)
                closed = free_port()
                said = run_that_fails(f"http://localhost:{closed}/", "--proxy", url(scheme, port, credentials))
                says("a port where nobody listens", said, f"the proxy 127.0.0.1:{port} refused the tunnel to ", f":{closed}: ")
                if credentials:
                    server = f"http://localhost:{closed}/"
                    says("no credentials", run_that_fails(server, "--proxy", url(scheme, port, False)), "USER:PASSWORD@")
                    said = run_that_fails(server, "--proxy", f"{scheme}://{USER}:not-it@127.0.0.1:{port}")
                    says("wrong credentials", said, "it does not accept the user and password of --proxy")
                    holds("the password is shown", "not-it" not in said)


def url(scheme, port, credentials):
    return f"{scheme}://{f'{USER}:{PASSWORD}@' if credentials else ''}127.0.0.1:{port}"


def through(found, certificates, scheme, port, credentials, tunnels):
    """A plain server and one with TLS; a connection for many requests and one for each."""
    flags = ("-c", 4, "-t", 1, "--proxy", url(scheme, port, credentials))
    what = f"{scheme}, credentials: {credentials}"
    with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
        log = Path(folder) / "access.log"
        with servers.nginx(found, last_core(), access_log=log) as server:
            for count, more in ((REQUESTS, ()), (20, ("--no-keepalive",))):
                before = tunnels()
                report = run(f"http://localhost:{server.port}/", "-n", count, *flags, *more)
                same(f"{what} {more}: sent, completed, failed", counts(report), (count, count, 0))
                holds(f"{what} {more}: {tunnels() - before} tunnels", tunnels() - before >= (count if more else 1))
                holds("the password is in the report", PASSWORD not in str(report))
        same(f"{what}: the log of nginx", log.read_text().splitlines(), ["GET 200"] * (REQUESTS + 20))
    with serve() as upstream, hosts.nginx(found, certificates, upstream.port) as host:
        report = run(host.url(hosts.ECDSA), "-n", REQUESTS, "--cacert", certificates.ca, *flags)
        same(f"{what}, TLS: sent, completed, failed", counts(report), (REQUESTS, REQUESTS, 0))
        handshakes = report["tls"]["handshakes_full"] + report["tls"]["handshakes_resumed"]
        holds(f"{what}, TLS: {handshakes} handshakes", 1 <= handshakes <= 4)


PARTIES = (connect_by_tinyproxy, socks_by_microsocks)
