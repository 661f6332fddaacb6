"""`ringtide run --http2` against HTTP/2 servers of other authors: what it reports is what they log."""

import os
import tempfile

from . import h2_hosts
from .check import counts, holds, run, same, serve

REQUESTS = 1_000
BODY_SIZE = 200_000


def h2_nghttpd(found, certificates):
    matrix(h2_hosts.nghttpd, found, certificates)


def h2_nginx(found, certificates):
    matrix(h2_hosts.nginx, found, certificates)


def h2_haproxy(found, certificates):
    matrix(h2_hosts.haproxy, found, certificates)


def h2_apache(found, certificates):
    matrix(h2_hosts.apache, found, certificates)


def h2_node(found, certificates):
    matrix(h2_hosts.node, found, certificates)


def h2_hypercorn(found, certificates):
    matrix(h2_hosts.hypercorn, found, certificates)


def matrix(start, found, certificates):
    """Loops and rates, small tables and windows, large bodies both ways."""
    with serve() as upstream, start(found, certificates, upstream.port) as host, tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(BODY_SIZE))
        file.flush()
        logged = 0
        for scheme in ("http", "https"):
            for path, count, flags in (
                ("/", REQUESTS, ("-c", 4, "-p", 50)),
                ("/", REQUESTS, ("-c", 4, "-p", 1, "--driver", "fallback")),
                ("/", REQUESTS, ("-c", 2, "-p", 50, "--h2-header-table-size", 0)),
                ("/", 300, ("-c", 1, "-p", 100, "-R", 600)),
                (f"/bytes/{h2_hosts.LARGE}", 20, ("-c", 2, "-p", 4)),
                (f"/bytes/{h2_hosts.LARGE}", 8, ("-c", 1, "-p", 4, "--h2-window", "64KiB")),
                ("/echo", 20, ("-c", 2, "-p", 4, "-X", "POST", "-b", f"@{file.name}")),
            ):
                what = f"{start.__name__}, {scheme}, {path} {' '.join(map(str, flags))}"
                report = spoken(host.url(scheme, path), certificates, count, *flags)
                same(f"{what}: sent, completed, failed", counts(report), (count, count, 0))
                same(f"{what}: statuses", report["status"], {"200": count})
                least = count * {"/": 12, "/echo": BODY_SIZE}.get(path, h2_hosts.LARGE)
                holds(f"{what}: only {report['bytes_received']} of {least} bytes came", report["bytes_received"] >= least)
                logged += count
        if (lines := host.logged(logged)) is not None:
            same(f"{start.__name__}: its log", (len(lines), set(lines)), (logged, {"HTTP/2.0 200"}))


def spoken(url, certificates, count, *flags):
    """Returns the report of a run in HTTP/2, by choice of ours for http and by that of both for https."""
    version = ("--cacert", certificates.ca) if url.startswith("https:") else ("--http2",)
    report = run(url, "-n", count, "-t", 1, *version, *flags)
    same(f"{url}: version", report["plan"]["http"], "2")
    return report


def h2_nginx_goes_away(found, certificates):
    """It announces the end of each connection after 100 requests: those in flight that it excludes are sent again. Whether
    it excludes any depends on the moment, so only the end of the connections is certain."""
    with serve() as upstream, h2_hosts.nginx(found, certificates, upstream.port, more="keepalive_requests 100;") as host:
        for scheme in ("http", "https"):
            report = spoken(host.url(scheme), certificates, REQUESTS, "-c", 2, "-p", 20)
            _, completed, failed = counts(report)
            same(f"{scheme}: completed, failed", (completed, failed), (REQUESTS, 0))
            holds(f"{scheme}: no connection was ended: {report['http2']}", sum(report["http2"]["goaways"].values()) > 0)


def h2_nginx_limits_streams(found, certificates):
    """It allows fewer streams than we want: the others wait for theirs."""
    with serve() as upstream, h2_hosts.nginx(found, certificates, upstream.port, more="http2_max_concurrent_streams 8;") as host:
        report = spoken(host.url("http"), certificates, REQUESTS, "-c", 2, "-p", 100)
        same("sent, completed, failed", counts(report), (REQUESTS, REQUESTS, 0))


PARTIES = (h2_nghttpd, h2_nginx, h2_haproxy, h2_apache, h2_node, h2_hypercorn, h2_nginx_goes_away, h2_nginx_limits_streams)
