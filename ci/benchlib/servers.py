"""The servers that generators run against."""

import contextlib
import socket
import tempfile
from pathlib import Path

from .environment import example, program
from .process import Server

BODY_SIZE = 1024 * 1024

NGINX_CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
worker_rlimit_nofile 20000;
http {{
    log_format what '$request_method $status';
    log_format handshakes '$ssl_protocol $ssl_cipher $ssl_curve offered=$ssl_curves '
                          'reused=$ssl_session_reused $connection_requests';
    access_log {access_log};
    # By default nginx closes a connection after 1,000 requests, so reconnects would be part of the measurement.
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port}{protocols} backlog=4096;
        {tls}
        location / {{ return 200 "hello world\\n"; }}
        location /bytes/ {{
            root {folder};
            open_file_cache max=16;
        }}
    }}
}}
"""
# One version, group and cipher suite, so that all clients do the same work. Each of them prefers this suite by itself.
NGINX_TLS = """
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
        ssl_session_cache {cache};
        ssl_session_tickets {tickets};
"""


def floor(core, *flags):
    return Server("floor_server", [example("floor_server"), *flags], core)


def floor_http2(core):
    return Server("h2_floor_server", [example("h2_floor_server")], core)


def lingering(core):
    return Server("lingering_server", [example("lingering_server")], core)


def grid(core, rate):
    return Server("grid_server", [example("grid_server"), "--rate", str(rate)], core)


def delay(core, *flags):
    """A server of known delay, which records the truth and tells it at /report."""
    return Server("delay_server", [example("delay_server"), *flags], core)


def echo(core, peer):
    return Server(f"echo on {peer}", [example("echo"), peer, "server"], core)


def hyper(core):
    return Server("hyper", [example("hyper_server")], core)


def ringtide(core, certificates=None, flags=()):
    """`ringtide serve` with further flags, and with TLS if it gets certificates."""
    port = free_port()
    command = [program("ringtide"), "serve", "--addr", f"127.0.0.1:{port}", "--threads", "1", *flags]
    if certificates is None:
        return Server("ringtide serve", command, core, port)
    command += ["--tls", "--cert", certificates.chain, "--key", certificates.key]
    return Server("ringtide serve --tls", command, core, port, "https")


@contextlib.contextmanager
def nghttpd(tools, core):
    """nghttpd with one worker, for HTTP/2 without TLS. Its page is that of the other servers, from a file."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-nghttpd-") as folder:
        (Path(folder) / "index.html").write_text("hello world\n")
        command = [tools["nghttpd"], "--no-tls", "--address", "127.0.0.1", "--workers", "1", "--htdocs", folder, str(port)]
        with Server("nghttpd", command, core, port) as server:
            yield server


@contextlib.contextmanager
def nginx(tools, core, access_log=None, certificates=None, resumption=False, http2=False):
    """nginx with one worker and `return 200`. Like `ringtide serve`, it has a body at /bytes/1048576. With `access_log`, it
    logs method and status there.

    With `certificates`, it speaks TLS only, and HTTP/2 if told to. `resumption` lets clients resume sessions; otherwise each handshake is full. The
    log then has a line of `HandshakeLog` for each request.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
        body = Path(folder) / "bytes" / str(BODY_SIZE)
        body.parent.mkdir()
        body.write_bytes(bytes(BODY_SIZE))
        # nginx started by root serves files as another user.
        for place in (Path(folder), body.parent):
            place.chmod(0o755)
        configuration = Path(folder) / "nginx.conf"
        log = f"{access_log} {'handshakes' if certificates else 'what'}" if access_log else "off"
        tls = certificates and NGINX_TLS.format(
            chain=certificates.chain,
            key=certificates.key,
            cache="shared:sessions:16m" if resumption else "off",
            tickets="on" if resumption else "off",
        )
        configuration.write_text(NGINX_CONFIGURATION.format(
            folder=folder, port=port, access_log=log, tls=tls or "",
            protocols=(" ssl" if tls else "") + (" http2" if http2 else "")))
        command = [tools["nginx"], "-p", folder, "-c", str(configuration), "-e", "stderr"]
        with Server("nginx", command, core, port, "https" if tls else "http") as server:
            yield server


def free_port():
    """Returns a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
