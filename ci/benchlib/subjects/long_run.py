"""Whether a long run with every output takes more and more memory."""

import tempfile
import time
from pathlib import Path

from .. import process, servers, tools
from ..errors import BenchError
from ..session import GRACE_SECONDS, Bar, Results, Subject

INTENT = """
A closed loop over 64 connections to the bare server at full rate, with the live view in a terminal and every output that there
is (`-o`, `--timeseries`, `--hdr`, `--html`, `--summary`, `--junit`, `--openmetrics`), for ten minutes. The resident memory is read
every two seconds; the bar compares the last reading with that at the end of the first minute.
"""
# A single run; it takes ten minutes.
ONLY_WHEN_NAMED = True
CONNECTIONS = 64
SECONDS, FIRST_SECONDS = 600, 60
SECONDS_SMOKE, FIRST_SECONDS_SMOKE = 3, 1
SAMPLE_SECONDS = 2
# The last reading is from before the end: the report itself takes memory.
END_SECONDS = 1
OUTPUTS = ["timeseries", "hdr", "html", "summary", "junit", "openmetrics"]
GROWTH_MAX_BYTES = 1024 * 1024


def measure(settings):
    seconds = SECONDS_SMOKE if settings.smoke else max(SECONDS, settings.duration)
    first_seconds = FIRST_SECONDS_SMOKE if settings.smoke else FIRST_SECONDS
    samples = []
    with tempfile.TemporaryDirectory(prefix="ringtide-long-run-") as folder, servers.floor(settings.server_core) as server:
        report = Path(folder) / "report.json"
        files = {name: Path(folder) / name for name in OUTPUTS}
        flags = [part for name, file in files.items() for part in (f"--{name}", str(file))]
        tool = tools.ringtide(seconds, CONNECTIONS, "-o", str(report), "--threshold", "rps>1", *flags)
        command = [part for part in tool.command(server.url()) if part != "--quiet"]
        finished = process.run(
            command, settings.generator_core, seconds + GRACE_SECONDS, terminal=True,
            sample_seconds=0.2 if settings.smoke else SAMPLE_SECONDS,
            on_sample=lambda pid, at: samples.append((round(at, 1), process.memory_of(pid, "VmRSS"))),
        )
        if empty := [name for name, file in files.items() if not file.exists() or file.stat().st_size == 0]:
            raise BenchError(f"the run wrote nothing to {', '.join(empty)}")
        reading = tool.read(report.read_text())
    first = [rss for at, rss in samples if at >= first_seconds][0]
    last = [rss for at, rss in samples if at <= seconds - END_SECONDS][-1]
    record = {
        "subject": "long-run",
        "case": "ringtide",
        "round": 0,
        "role": "counted",
        "disturbed": False,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": seconds,
        "outputs": OUTPUTS,
        **reading,
        "rss_first_bytes": first,
        "rss_last_bytes": last,
        "rss_peak_bytes": finished.rss_peak_bytes,
        "rss_bytes_at": samples,
    }
    results = Results([record])
    bars = [Bar("growth after the first minute", last - first, "≤", GROWTH_MAX_BYTES, " B")]
    return Subject(results.records, bars, ["requests_per_second", "rss_first_bytes", "rss_last_bytes", "rss_peak_bytes"]), results
