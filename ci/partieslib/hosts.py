"""TLS servers of other authors: each a context manager that yields a `Host`.

nginx, haproxy and apache2 pass the requests on to the plain server at `upstream`.
"""

import contextlib
import json
import re
import tempfile
import time
from pathlib import Path

from benchlib.process import Server
from benchlib.servers import free_port

from .check import holds, last_core

HERE = Path(__file__).resolve().parent
LOG_SECONDS_MAX = 5

# Each host listens at several ports that differ in this: the certificate, whether sessions can be resumed, and the
# authority of the clients that are served.
ECDSA, ECDSA_FULL, RSA, RSA_FULL, CLIENTS, NO_X25519 = range(6)
NAMES = {ECDSA: "ecdsa", ECDSA_FULL: "ecdsa", RSA: "rsa", RSA_FULL: "rsa", CLIENTS: "ecdsa", NO_X25519: "ecdsa"}
FULL = (ECDSA_FULL, RSA_FULL)


class Host:
    """A running server. `logged(kind)` returns (version, whether it was resumed, application protocol) of each request."""

    def __init__(self, ports, read_log):
        self.ports, self.read_log = ports, read_log

    def url(self, kind, path="/", host="localhost"):
        return f"https://{host}:{self.ports[kind]}{path}"

    def address(self, kind):
        return f"127.0.0.1:{self.ports[kind]}"

    def logged(self, kind, count):
        """Waits until `count` lines are logged: a server may answer first and log then."""
        give_up = time.monotonic() + LOG_SECONDS_MAX
        while True:
            lines = [line for line in self.read_log().splitlines() if line.startswith(f"{self.ports[kind]} ")]
            if len(lines) >= count:
                break
            holds(f"only {len(lines)} of {count} requests are in the log: {self.read_log()[-500:]!r}", time.monotonic() < give_up)
            time.sleep(0.02)
        holds(f"{len(lines)} requests are in the log instead of {count}", len(lines) == count)
        return [tuple(line.split()[1:]) for line in lines]


def free_ports():
    ports = []
    while len(ports) < len(NAMES):
        if (port := free_port()) not in ports:
            ports.append(port)
    return ports


@contextlib.contextmanager
def nginx(found, certificates, upstream):
    ports = free_ports()
    with tempfile.TemporaryDirectory(prefix="ringtide-nginx-") as folder:
        blocks = ""
        for kind, name in NAMES.items():
            extra = {CLIENTS: f"ssl_client_certificate {certificates.ca}; ssl_verify_client on;",
                     NO_X25519: "ssl_ecdh_curve prime256v1:secp384r1;"}.get(kind, "")
            if kind in FULL:
                extra += " ssl_session_cache off; ssl_session_tickets off;"
            else:
                extra += f" ssl_session_cache shared:cache{kind}:1m;"
            blocks += f"""
    server {{
        listen 127.0.0.1:{ports[kind]} ssl backlog=1024;
        ssl_certificate {certificates.cert(name)};
        ssl_certificate_key {certificates.key(name)};
        ssl_protocols TLSv1.2 TLSv1.3;
        {extra}
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}"""
        temporary = "".join(
            f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = Path(folder) / "nginx.conf"
        # Without `keepalive_requests`, it closes a connection after 1,000.
        configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    log_format tls '$server_port $ssl_protocol $ssl_session_reused $ssl_alpn_protocol';
    access_log {folder}/access.log tls;
    client_max_body_size 16m;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
{temporary}{blocks}
}}
""")
        command = [found["nginx"], "-p", folder, "-c", str(configuration), "-e", "stderr"]
        log = Path(folder) / "access.log"

        def read_log():
            return re.sub(r" r (\S+)$", r" resumed \1", re.sub(r" \. (\S+)$", r" full \1", log.read_text(), flags=re.M), flags=re.M)

        with Server("nginx", command, last_core(), ports[0]):
            yield Host(ports, read_log)


@contextlib.contextmanager
def haproxy(found, certificates, upstream):
    ports = free_ports()
    with tempfile.TemporaryDirectory(prefix="ringtide-haproxy-") as folder:
        binds = ""
        for kind, name in NAMES.items():
            extra = {CLIENTS: f"ca-file {certificates.ca} verify required", NO_X25519: "curves P-256:P-384"}.get(kind, "")
            if kind in FULL:
                extra += " no-tls-tickets"
            binds += f"    bind 127.0.0.1:{ports[kind]} ssl crt {certificates.both(name)} alpn http/1.1 {extra}\n"
        configuration = Path(folder) / "haproxy.cfg"
        # Without a cache, tickets alone resume.
        configuration.write_text(f"""
global
    log stderr format raw local0
    nbthread 1
    tune.ssl.cachesize 0
    tune.ssl.default-dh-param 2048
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend tls
{binds}
    log global
    log-format "%[dst_port] %[ssl_fc_protocol] %[ssl_fc_is_resumed,iif(resumed,full)] %[ssl_fc_alpn]"
    default_backend plain
backend plain
    server plain 127.0.0.1:{upstream}
""")
        with Server("haproxy", [found["haproxy"], "-db", "-f", str(configuration)], last_core(), ports[0]) as server:
            yield Host(ports, server.errors_so_far)


@contextlib.contextmanager
def apache(found, certificates, upstream):
    ports = free_ports()
    modules = Path("/usr/lib/apache2/modules")
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http")
    )
    with tempfile.TemporaryDirectory(prefix="ringtide-apache-") as folder:
        blocks = ""
        for kind, name in NAMES.items():
            extra = {CLIENTS: f"SSLCACertificateFile {certificates.ca}\n    SSLVerifyClient require",
                     NO_X25519: "SSLOpenSSLConfCmd Groups P-256:P-384"}.get(kind, "")
            if kind in FULL:
                extra += "\n    SSLSessionTickets off"
            blocks += f"""
Listen 127.0.0.1:{ports[kind]}
<VirtualHost 127.0.0.1:{ports[kind]}>
    SSLEngine on
    SSLCertificateFile {certificates.cert(name)}
    SSLCertificateKeyFile {certificates.key(name)}
    {extra}
    ProxyPass / http://127.0.0.1:{upstream}/
</VirtualHost>"""
        configuration = Path(folder) / "apache.conf"
        # Without a cache, tickets alone resume. As root it wants a user to become.
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
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLSessionCache none
CustomLog {folder}/access.log "%{{local}}p %{{SSL_PROTOCOL}}x %{{SSL_SESSION_RESUMED}}x -"
{blocks}
""")
        log = Path(folder) / "access.log"

        def read_log():
            return log.read_text().replace(" Initial ", " full ").replace(" Resumed ", " resumed ")

        command = [found["apache2"], "-DFOREGROUND", "-f", str(configuration)]
        with Server("apache2", command, last_core(), ports[0]):
            yield Host(ports, read_log)


@contextlib.contextmanager
def node(found, certificates, _):
    with script("Node's https", [found["node"], str(HERE / "https.js")], certificates) as host:
        yield host


@contextlib.contextmanager
def python(_, certificates, __):
    import sys

    with script("Python's ssl", [sys.executable, "-B", str(HERE / "https.py")], certificates) as host:
        yield host


@contextlib.contextmanager
def script(name, command, certificates):
    """A server that is told its ports and certificates as JSON, and echoes bodies."""
    ports = free_ports()
    blocks = [
        {"port": ports[kind], "cert": str(certificates.cert(own)), "key": str(certificates.key(own)),
         "ca": str(certificates.ca) if kind == CLIENTS else None,
         "groups": "P-256:P-384" if kind == NO_X25519 else None}
        for kind, own in NAMES.items()
    ]
    with Server(name, [*command, json.dumps(blocks)], last_core(), ports[-1]) as server:
        yield Host(ports, server.errors_so_far)
