"""The servers that generators run against."""

import contextlib
import socket
import tempfile
from pathlib import Path

from .environment import RELEASE
from .process import Server

NGINX_CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
worker_rlimit_nofile 20000;
http {{
    log_format what '$request_method $status';
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
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "hello world\\n"; }}
    }}
}}
"""


def floor(core):
    return Server("floor_server", [str(RELEASE / "examples" / "floor_server")], core)


def lingering(core):
    return Server("lingering_server", [str(RELEASE / "examples" / "lingering_server")], core)


def grid(core, rate):
    return Server("grid_server", [str(RELEASE / "examples" / "grid_server"), "--rate", str(rate)], core)


def ringtide(core):
    port = free_port()
    command = [str(RELEASE / "ringtide"), "serve", "--addr", f"127.0.0.1:{port}", "--threads", "1"]
    return Server("ringtide serve", command, core, port)


@contextlib.contextmanager
def nginx(tools, core, access_log=None):
    """nginx with one worker and `return 200`. With `access_log`, it logs method and status there."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
        configuration = Path(folder) / "nginx.conf"
        log = f"{access_log} what" if access_log else "off"
        configuration.write_text(NGINX_CONFIGURATION.format(folder=folder, port=port, access_log=log))
        command = [tools["nginx"], "-p", folder, "-c", str(configuration), "-e", "stderr"]
        with Server("nginx", command, core, port) as server:
            yield server


def free_port():
    """Returns a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
