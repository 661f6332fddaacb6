"""What ringtide writes, read by libraries of other authors (PyPI): an interval log by hdrhistogram, OpenMetrics by
prometheus_client, JUnit XML by junitparser.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from .check import RINGTIDE, holds, report_of, same, serve
from .h2_serve import python_of

HERE = Path(__file__).resolve().parent
PERCENTILES = ("p50", "p90", "p99", "max")
# A histogram keeps three digits.
PRECISION = 0.002


def results_are_read(found, _):
    """Everything is answered, and one threshold is missed."""
    seen, report = read(found, "/delay/5", 3, "-c", 8, "-d", "2s", "-R", 500, "--drain", "2s", "--threshold", "p99<10s",
                        "--threshold", "rps>1M")
    same_counts(seen, report)
    same("nothing is censored", (report["requests"]["censored"], seen["hdr"]["tagged"]), (0, {}))
    for name in PERCENTILES:
        at, shown = seen["hdr"]["us"][name], report["latency_us"]["response"][name]
        holds(f"{name}: {at} µs in the log, {shown} µs in the report", abs(at - shown) <= PRECISION * shown)
    # The verdict has a case too, which fails where others use the machine.
    failed = [case["name"] for case in seen["junit"] if case["failed"] and "verdict" not in case["name"]]
    same(f"JUnit: what failed ({seen['junit']})", failed, ["rps>1M"])
    verdict = [case["failed"] for case in seen["junit"] if "verdict" in case["name"]]
    same("JUnit: whether the verdict failed", verdict, [report["verdict"]["valid"] is not True])
    holds(f"JUnit has only {len(seen['junit'])} cases", len(seen["junit"]) >= 2)


def censored_results_are_read(found, _):
    """Some are cut off by the end."""
    seen, report = read(found, "/delay/400", 0, "-c", 4, "-d", "1s")
    same_counts(seen, report)
    censored = report["requests"]["censored"]
    holds("nothing was cut off", censored > 0)
    same("the tag in the log", seen["hdr"]["tagged"], {"censored": censored})


def same_counts(seen, report):
    requests = report["requests"]
    same("the log: completed", seen["hdr"]["count"], requests["completed"])
    holds(f"the log has {seen['hdr']['intervals']} intervals", seen["hdr"]["intervals"] >= 1)
    counted = {sample["outcome"]: sample["value"] for sample in seen["openmetrics"]["ringtide_requests"]}
    for outcome in ("completed", "failed", "censored"):
        same(f"OpenMetrics: {outcome}", counted[outcome], requests[outcome])


def read(found, path, exit_code, *flags):
    """Runs against a path of ours. Returns what the readers saw and the report."""
    with tempfile.TemporaryDirectory(prefix="ringtide-results-") as folder, serve() as server:
        files = {name: str(Path(folder) / name) for name in ("hdr", "openmetrics", "junit")}
        outputs = [part for name, file in files.items() for part in (f"--{name}", file)]
        command = [RINGTIDE, "run", server.url(path), "-t", 1, "--format", "json", "--quiet", *flags, *outputs]
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        same(f"exit code ({done.stderr})", done.returncode, exit_code)
        reader = [python_of(found), HERE / "results_reader.py", *files.values()]
        seen = subprocess.run([str(part) for part in reader], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        same(f"the readers ({seen.stderr})", seen.returncode, 0)
        return json.loads(seen.stdout), report_of(done)


PARTIES = (results_are_read, censored_results_are_read)
