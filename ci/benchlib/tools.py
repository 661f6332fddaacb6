"""The generators: how to call each, and how to read its report.

A reading is a dictionary with `requests`, `failed`, `requests_per_second`, `bytes_per_second`, and whatever else a subject
needs from the tool. A report that lacks a figure is an error: a missing number must not pass for a good one.
"""

import json
import re

from .environment import example, program
from .errors import BenchError

# A run with a larger share of failures is not used. Some tools count requests cut off at the end as failures.
FAILED_SHARE_MAX = 0.001


class Tool:
    """A generator: `command(url)` is its command line, `read(text)` reads its report. With `terminal` it runs in one."""

    def __init__(self, name, command, read, terminal=False):
        self.name = name
        self.command = command
        self.terminal = terminal
        self._read = read

    def read(self, text):
        try:
            reading = self._read(text)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise BenchError(f"the report of {self.name} cannot be read ({error!r}):\n{text[:4000]}") from error
        if reading["requests"] <= 0:
            raise BenchError(f"{self.name} completed no request:\n{text[:4000]}")
        if reading["failed"] > FAILED_SHARE_MAX * reading["requests"]:
            raise BenchError(f"{self.name}: {reading['failed']} of {reading['requests']} requests failed:\n{text[:4000]}")
        return reading


def ringtide(duration, connections, *flags, name="ringtide"):
    def command(url):
        return [program("ringtide"), "run", url, "-c", str(connections), "-t", "1", "-d", seconds(duration),
                "--format", "json", "--quiet", *flags]

    return Tool(name, command, read_ringtide)


def ringtide_http2(duration, connections, streams, *flags):
    """The closed loop over `streams` streams on each connection, or the open one with `-R`."""
    tool = ringtide(duration, connections, "--http2", "-p", str(streams), *flags)
    return Tool(tool.name, tool.command, read_ringtide_http2)


def closed_loops_http2(settings, connections, streams):
    """What sends requests over HTTP/2 without TLS."""
    duration = settings.duration
    return [
        ringtide_http2(duration, connections, streams),
        h2load(settings.tools, duration, connections, streams),
        oha_http2(settings.tools, duration, connections, streams),
        floor_http2(duration, connections, streams),
    ]


def wrk(tools, duration, connections, *flags):
    """wrk verifies no certificate, and has no option for it."""
    def command(url):
        # wrk accepts only whole seconds.
        return [tools["wrk"], "-t1", f"-c{connections}", f"-d{max(1, round(duration))}s", *flags, url]

    return Tool("wrk", command, read_wrk)


def h2load(tools, duration, connections, streams=None):
    """HTTP/2 with `streams` on each connection, or HTTP/1.1 without."""
    version = ["--h1"] if streams is None else ["-m", str(streams)]

    def command(url):
        return [tools["h2load"], *version, "-t", "1", "-c", str(connections), "-D", seconds(duration), url]

    return Tool("h2load", command, read_h2load)


def oha(tools, duration, connections, *flags):
    def command(url):
        return [tools["oha"], "--no-tui", "--worker-threads", "1", "-c", str(connections), "-z", seconds(duration),
                "--output-format", "json", *flags, url]

    return Tool("oha", command, read_oha)


def oha_http2(tools, duration, connections, streams, *flags):
    return oha(tools, duration, connections, "--http2", "-p", str(streams), *flags)


def floor(duration, connections, *flags, program="floor_client"):
    def command(url):
        address = url.removeprefix("http://").rstrip("/")
        return [example(program), "--addr", address, "--connections", str(connections), "--duration", str(duration), *flags]

    return Tool("floor", command, read_floor)


def floor_http2(duration, connections, streams):
    return floor(duration, connections, "--streams", str(streams), program="h2_floor_client")


def echo(duration, connections, peer):
    def command(url):
        address = url.removeprefix("http://").rstrip("/")
        return [example("echo"), peer, "client", address, str(connections), str(round(duration * 1000))]

    # It exits with an error when an echo is wrong. Its output has the format of the floor.
    return Tool(peer, command, read_floor)


def client_cost(duration, tasks, client):
    def command(url):
        return [example("client_cost"), client, url, str(tasks), str(round(duration * 1000))]

    # It exits with an error when a request fails. Its output has the format of the floor.
    return Tool(client, command, read_floor)


def seconds(duration):
    return f"{round(duration * 1000)}ms"


def read_ringtide(text):
    report = json.loads(text)
    requests = report["requests"]
    if requests["completed"] == 0:
        # It has no latencies, either.
        raise BenchError(f"ringtide completed no request:\n{text[:4000]}")
    return {
        "requests": int(requests["completed"]),
        "failed": int(requests["failed"]) + non_success(report["status"]),
        "requests_per_second": float(report["requests_per_second"]),
        "bytes_per_second": float(report["bytes_received_per_second"]),
        "response_mean_us": float(report["latency_us"]["response"]["mean"]),
        "connect_mean_us": report["phases_us"]["connect"]["mean"],
        "service_mean_us": float(report["latency_us"]["service"]["mean"]),
        "service_p50_us": float(report["latency_us"]["service"]["p50"]),
        "service_p99_us": float(report["latency_us"]["service"]["p99"]),
        "response_p50_us": float(report["latency_us"]["response"]["p50"]),
        "response_p99_us": float(report["latency_us"]["response"]["p99"]),
        "schedule_lag_p50_us": float(report["latency_us"]["schedule_lag"]["p50"]),
        "schedule_lag_p99_us": float(report["latency_us"]["schedule_lag"]["p99"]),
        "heap_bytes_per_request": float(report["generator"]["heap_bytes_per_request"]),
        "heap_bytes_per_connection": float(report["generator"]["heap_bytes_per_connection"]),
        "driver": report["environment"]["driver"],
        "verdict": report["verdict"],
        # None without TLS.
        "tls": report.get("tls"),
    }


def read_ringtide_http2(text):
    facts = json.loads(text)["http2"]
    if facts is None:
        raise BenchError("ringtide did not speak HTTP/2")
    return {**read_ringtide(text), "http2": facts}


def non_success(statuses):
    return sum(int(count) for status, count in statuses.items() if not status.startswith("2"))


def read_oha(text):
    report = json.loads(text)
    statuses = report["statusCodeDistribution"]
    # Requests in flight at the end are "aborted due to deadline". These are not failures.
    errors = {kind: count for kind, count in report["errorDistribution"].items() if kind != "aborted due to deadline"}
    return {
        "requests": sum(statuses.values()),
        "failed": sum(errors.values()) + non_success(statuses),
        "requests_per_second": float(report["summary"]["requestsPerSec"]),
        "bytes_per_second": float(report["summary"]["sizePerSec"]),
        "response_mean_us": float(report["summary"]["average"]) * 1e6,
        "response_p50_us": float(report["latencyPercentiles"]["p50"]) * 1e6,
        "response_p99_us": float(report["latencyPercentiles"]["p99"]) * 1e6,
    }


def read_floor(text):
    report = json.loads(text)
    return {
        "requests": int(report["requests"]),
        "failed": 0,
        "requests_per_second": float(report["requests_per_second"]),
        "bytes_per_second": None,
    }


def read_wrk(text):
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h), ([\d.]+)([KMGTP]?)B read", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    # wrk prints "Socket errors: connect 0, read 0, write 0, timeout 0" and "Non-2xx or 3xx responses: 0" only when not 0.
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    length = float(done.group(2)) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[done.group(3)]
    return {
        "requests": int(done.group(1)),
        "failed": sum(int(count) for found in (errors, refused) if found for count in found.groups()),
        "requests_per_second": float(rate.group(1)),
        "bytes_per_second": float(done.group(4)) * 1024 ** " KMGTP".index(done.group(5) or " ") / length,
        **wrk_latency(text),
    }


def wrk_latency(text):
    """The mean; percentiles only of a run with --latency."""
    names = {"Latency": "response_mean_us", "50%": "response_p50_us", "99%": "response_p99_us"}
    found = re.findall(r"^\s+(Latency|50%|99%)\s+([\d.]+)(us|ms|s|m)\b", text, re.MULTILINE)
    return {names[name]: microseconds(value, unit) for name, value, unit in found}


def microseconds(value, unit):
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def read_h2load(text):
    finished = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s, ([\d.]+)([KMG]?)B/s", text)
    requests = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    # Minimum, maximum, mean.
    times = re.search(r"time for request:" + r"\s+([\d.]+)(us|ms|s)" * 3, text)
    done, succeeded = int(requests.group(1)), int(requests.group(2))
    return {
        "requests": done,
        "failed": done - succeeded + sum(int(requests.group(index)) for index in (4, 5)),
        "requests_per_second": float(finished.group(1)),
        "bytes_per_second": float(finished.group(2)) * 1024 ** " KMG".index(finished.group(3) or " "),
        "response_mean_us": microseconds(times.group(5), times.group(6)),
    }
