"""What all parties share: how they compare, the programs of ours, and `ringtide run` with its report."""

import json
import os
import subprocess
from pathlib import Path

from benchlib import environment
from benchlib.process import Server
from benchlib.servers import free_port

# Debug binaries, because no figure is judged here, and because they check more.
DEBUG = environment.ROOT / "target" / "debug"
RINGTIDE = DEBUG / "ringtide"
TUNNEL = DEBUG / "examples" / "tunnel"
GET = DEBUG / "examples" / "get"

RUN_SECONDS_MAX = 60


def build():
    """Builds the programs of ours. Returns whether that went well."""
    # The whole workspace: with fewer packages, the features of dependencies are others than those that ci/test has built.
    targets = ["--workspace", "--bin", "ringtide", "--example", "get", "--example", "tunnel"]
    return subprocess.run(["cargo", "build", "--quiet", *targets], cwd=environment.ROOT).returncode == 0


def same(what, seen, expected):
    if seen != expected:
        raise AssertionError(f"{what}: {seen!r} instead of {expected!r}")


def holds(what, condition):
    if not condition:
        raise AssertionError(what)


def says(what, text, *parts):
    """Each part stands in the text."""
    for part in parts:
        if part not in text:
            raise AssertionError(f"{what}: {part!r} is not in {text!r}")


def last_core():
    return max(os.sched_getaffinity(0))


def serve(*flags):
    """`ringtide serve`, with one worker."""
    port = free_port()
    command = [str(RINGTIDE), "serve", "--addr", f"127.0.0.1:{port}", "--threads", "1", *map(str, flags)]
    return Server("ringtide serve", command, last_core(), port)


def tunnel(*arguments):
    """The example `tunnel`."""
    return Server("tunnel", [str(TUNNEL), *map(str, arguments)], last_core())


def run(url, *flags):
    """Returns the JSON report of `ringtide run`."""
    done = start_run(url, *flags)
    if done.returncode != 0:
        raise AssertionError(f"`{' '.join(done.args)}` exited with {done.returncode}: {done.stderr or done.stdout}")
    return report_of(done)


def run_that_fails(url, *flags):
    """Returns what `ringtide run` says about a server with which no request succeeds."""
    done = start_run(url, "-n", "1", "-c", "1", "-t", "1", *flags)
    if done.returncode != 0:
        return done.stderr
    report = report_of(done)
    same(f"{' '.join(done.args)}: completed", report["requests"]["completed"], 0)
    return "\n".join(f"{kind}: {text}" for kind, text in report["error_examples"].items())


def start_run(url, *flags):
    command = [str(RINGTIDE), "run", url, "--format", "json", "--quiet", *map(str, flags)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)


def run_page(folder, name, url, *flags, exit_code=0):
    """A run that writes its page and its result. Returns the files of both."""
    page, result = Path(folder) / f"{name}.html", Path(folder) / f"{name}.json"
    done = start_run(url, "--html", page, "-o", result, *flags)
    same(f"`{' '.join(done.args)}`: exit ({done.stderr})", done.returncode, exit_code)
    return page, result


def report_of(done):
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise AssertionError(f"`{' '.join(done.args)}` printed no JSON ({error}): {done.stdout[:500]!r}") from error


def counts(report):
    requests = report["requests"]
    same("scheduled", requests["scheduled"], requests["completed"] + requests["failed"] + requests["censored"])
    return requests["sent"], requests["completed"], requests["failed"]


class Answer:
    """What curl saw of one request."""

    def __init__(self, curl, folder, url, *flags, seconds_max=5):
        body, head = Path(folder) / "body", Path(folder) / "head"
        for file in (body, head):
            file.unlink(missing_ok=True)
        command = [curl, "--silent", "--show-error", "--noproxy", "*", "--max-time", str(seconds_max),
                   "--output", str(body), "--dump-header", str(head), "--write-out", "%{http_code} %{time_total} %{http_version}",
                   *map(str, flags), url]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.exit = done.returncode
        self.errors = done.stderr.strip()
        status, seconds, self.version = done.stdout.split()
        self.status, self.seconds = int(status), float(seconds)
        self.body = body.read_bytes() if body.exists() else b""
        lines = head.read_text().splitlines()[1:] if head.exists() else []
        self.fields = {name.strip().lower(): value.strip() for name, _, value in (l.partition(":") for l in lines)}
