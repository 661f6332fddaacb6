"""What the live view costs the run that it shows."""

import tempfile
from pathlib import Path

from .. import servers, tools
from ..errors import BenchError
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 64 connections to the bare server, in a terminal of 100 columns and 30 rows: with the live view, and without
(`--no-tui`). The view is drawn on the generator's core, as that is the only one it has. The floor is a bare io_uring loop.
"""
CONNECTIONS = 64
# How a program moves the cursor of a terminal. Plain lines do without.
CURSOR_MOVE = "\x1b["


def measure(settings):
    duration = settings.duration
    with tempfile.TemporaryDirectory(prefix="ringtide-live-view-") as folder, servers.floor(settings.server_core) as server:
        report = Path(folder) / "report.json"
        cases = [
            Case(name, in_terminal(settings, tools.ringtide(duration, CONNECTIONS, "-o", str(report), *flags), name, report), server)
            for name, flags in (("live view", []), ("--no-tui", ["--no-tui"]))
        ]
        cases.append(Case("floor", tools.floor(duration, CONNECTIONS), server))
        results = Results(measure_cases(settings, "live-view", cases))
    for record in results.records:
        record["command"] = [part.rpartition("/")[2] if part == str(report) else part for part in record["command"]]
    bars = [
        Bar("requests/s relative to --no-tui", results.ratio("live view", "--no-tui", "requests_per_second"), "≥", 0.98),
        Bar("CPU per request relative to the floor, which draws nothing",
            results.ratio("live view", "floor", "cpu_us_per_request"), "≤", 1.12),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request", "terminal_bytes"]
    return Subject(results.records, bars, metrics), results


def in_terminal(settings, tool, name, report):
    """The same with a terminal; it draws there unless `--no-tui` forbids it. It writes its report to the file `report`."""
    def command(url):
        return [part for part in tool.command(url) if part != "--quiet"]

    def read(shown):
        draws = name == "live view"
        if (shown.count(CURSOR_MOVE) > 10) != draws and not settings.smoke:
            raise BenchError(f"{name}: the terminal got {shown.count(CURSOR_MOVE)} moves of the cursor:\n{shown[:2000]}")
        reading = tool.read(report.read_text())
        report.unlink()
        return {**reading, "terminal_bytes": len(shown)}

    return tools.Tool(name, command, read, terminal=True)
