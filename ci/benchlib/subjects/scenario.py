"""What it costs to draw each request from a scenario and to fill in a variable."""

import tempfile
from pathlib import Path

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 64 connections to the bare server: one constant request, against a scenario of ten requests with weights from
1 to 10, each with a variable in its path (half of them random numbers, half one of three words).
"""
CONNECTIONS = 64
REQUESTS = 10
VARIABLES = """
order = "weight"

[variables]
number = { random = "1..1000000" }
word = { one_of = ["ring", "tide", "salt"] }
"""
STEP = """
[[step]]
name = "step{index}"
weight = {index}
path = "/{index}?value=${{{variable}}}"
"""


def measure(settings):
    with tempfile.TemporaryDirectory(prefix="ringtide-scenario-") as folder, servers.floor(settings.server_core) as server:
        file = Path(folder) / "ten.toml"
        steps = (STEP.format(index=index, variable="number" if index % 2 else "word") for index in range(1, REQUESTS + 1))
        file.write_text(VARIABLES + "".join(steps))
        cases = [
            Case("constant request", tools.ringtide(settings.duration, CONNECTIONS), server),
            Case("scenario", tools.ringtide(settings.duration, CONNECTIONS, "--scenario", str(file)), server),
        ]
        results = Results(measure_cases(settings, "scenario", cases))
    for record in results.records:
        # The file is gone, and its path is one of this machine.
        record["command"] = [part.rpartition("/")[2] if part == str(file) else part for part in record["command"]]
    ratio = results.ratio("scenario", "constant request", "requests_per_second")
    bars = [Bar("requests/s relative to the constant request", ratio, "≥", 0.85)]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
