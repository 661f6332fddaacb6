"""HTTP/2 servers of other authors: each a context manager that yields a `Host`, by prior knowledge and with TLS.

nginx, haproxy and apache2 pass the requests on to the plain server at `upstream`; the others have `/`, `/bytes/N` and `/echo`.
"""

import contextlib
import json
import tempfile
import time
from pathlib import Path

from benchlib.process import Server
from benchlib.servers import free_port

from .check import holds, last_core

HERE = Path(__file__).resolve().parent
LARGE = 1_048_576
LOG_SECONDS_MAX = 5


class Host:
    """A running server. `logged(count)` returns the version and status of each request, or `None` if the server logs nothing."""

    def __init__(self, plain, tls, read_log=None):
        self.ports, self.read_log = {"http": plain, "https": tls}, read_log

    def url(self, scheme, path="/"):
        return f"{scheme}://localhost:{self.ports[scheme]}{path}"

    def logged(self, count):
        """Waits until `count` lines are logged: a server may answer first and log then."""
        give_up = time.monotonic() + LOG_SECONDS_MAX
        while self.read_log:
            lines = [line for line in self.read_log().splitlines() if line.startswith("HTTP/")]
            if len(lines) >= count:
                return lines
            holds(f"only {len(lines)} of {count} requests are in the log: {self.read_log()[-500:]!r}", time.monotonic() < give_up)
            time.sleep(0.02)
        return None


@contextlib.contextmanager
def nginx(found, certificates, upstream, more=""):
    plain, tls = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
        temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration, log = Path(folder) / "nginx.conf", Path(folder) / "access.log"
        configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    log_format version '$server_protocol $status';
    access_log {log} version;
    {temporary}
    client_max_body_size 16m;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{plain} http2;
        listen 127.0.0.1:{tls} ssl http2;
        ssl_certificate {certificates.cert("ecdsa")};
        ssl_certificate_key {certificates.key("ecdsa")};
        {more}
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
""")
        with Server("nginx", [found["nginx"], "-p", folder, "-c", str(configuration), "-e", "stderr"], last_core(), plain):
            yield Host(plain, tls, log.read_text)


@contextlib.contextmanager
def haproxy(found, certificates, upstream):
    plain, tls = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-haproxy-") as folder:
        configuration = Path(folder) / "haproxy.cfg"
        configuration.write_text(f"""
global
    log stderr format raw local0
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend both
    bind 127.0.0.1:{tls} ssl crt {certificates.both("ecdsa")} alpn h2,http/1.1
    bind 127.0.0.1:{plain} proto h2
    log global
    log-format "%HV %ST"
    default_backend plain
backend plain
    server plain 127.0.0.1:{upstream}
""")
        with Server("haproxy", [found["haproxy"], "-db", "-f", str(configuration)], last_core(), plain) as server:
            yield Host(plain, tls, server.errors_so_far)


@contextlib.contextmanager
def apache(found, certificates, upstream):
    plain, tls = free_port(), free_port()
    modules = Path("/usr/lib/apache2/modules")
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "socache_shmcb", "ssl", "http2", "proxy", "proxy_http")
    )
    with tempfile.TemporaryDirectory(prefix="ringtide-apache-") as folder:
        configuration, log = Path(folder) / "apache.conf", Path(folder) / "access.log"
        # As root it wants a user to become.
        configuration.write_text(f"""
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
{loaded}
User nobody
Group nogroup
ErrorLog /dev/stderr
LogLevel warn
StartServers 1
ServerLimit 1
ThreadsPerChild 32
MaxRequestWorkers 32
MaxKeepAliveRequests 0
Protocols h2 h2c
CustomLog {log} "%H %>s"
ProxyPass / http://127.0.0.1:{upstream}/
Listen 127.0.0.1:{plain}
Listen 127.0.0.1:{tls}
<VirtualHost 127.0.0.1:{tls}>
    SSLEngine on
    SSLCertificateFile {certificates.cert("ecdsa")}
    SSLCertificateKeyFile {certificates.key("ecdsa")}
    ProxyPass / http://127.0.0.1:{upstream}/
</VirtualHost>
""")
        command = [found["apache2"], "-DFOREGROUND", "-f", str(configuration)]
        with Server("apache2", command, last_core(), plain):
            yield Host(plain, tls, log.read_text)


@contextlib.contextmanager
def nghttpd(found, certificates, _):
    plain, tls = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ringtide-nghttpd-") as folder:
        (Path(folder) / "index.html").write_bytes(b"hello world\n")
        (Path(folder) / "bytes").mkdir()
        (Path(folder) / "bytes" / str(LARGE)).write_bytes(b"x" * LARGE)
        # It pads each frame, adds trailers, and returns bodies of POST at any path.
        flags = ["--address", "127.0.0.1", "--htdocs", folder, "--echo-upload", "--padding", "50", "--trailer", "x-end: yes"]
        pair = [str(certificates.key("ecdsa")), str(certificates.cert("ecdsa"))]
        with Server("nghttpd", [found["nghttpd"], *flags, "--no-tls", str(plain)], last_core(), plain), \
             Server("nghttpd", [found["nghttpd"], *flags, str(tls), *pair], last_core(), tls):
            yield Host(plain, tls)


@contextlib.contextmanager
def node(found, certificates, _):
    plain, tls = free_port(), free_port()
    told = json.dumps({"plain": plain, "tls": tls, "cert": str(certificates.cert("ecdsa")), "key": str(certificates.key("ecdsa"))})
    with Server("Node's http2", [found["node"], str(HERE / "http2.js"), told], last_core(), tls) as server:
        yield Host(plain, tls, server.errors_so_far)


@contextlib.contextmanager
def hypercorn(found, certificates, _):
    plain, tls = free_port(), free_port()
    # Without TLS, it recognises the preface.
    command = [found["hypercorn"], "--workers", "0", "--insecure-bind", f"127.0.0.1:{plain}", "--bind", f"127.0.0.1:{tls}",
               "--certfile", str(certificates.cert("ecdsa")), "--keyfile", str(certificates.key("ecdsa")),
               "asgi:echo"]
    with Server("hypercorn", ["env", f"PYTHONPATH={HERE}", "PYTHONDONTWRITEBYTECODE=1", *command], last_core(), plain):
        yield Host(plain, tls)


ALL = (nghttpd, nginx, haproxy, apache, node, hypercorn)
