"""A session: runs the cases of one subject, interleaved in rounds, and records every measurement."""

import statistics
import sys
import time

from . import process
from .errors import BenchError

# A round is repeated if the hypervisor gave more than this share of it to other guests.
STEAL_SHARE_MAX = 0.01
# At most this many rounds of a subject are repeated. Further disturbed rounds count, and the summary names them.
REPEATS_MAX = 5
# A side that uses so much of its core is the limit, and a higher rate is impossible. Then the rate of the other side must
# only not be lower, and CPU time decides.
BUSY_SHARE = 0.95
BUSY_RATIO = 0.98
# The same for the bars of HTTP/2.
HTTP2_BUSY_RATIO = 0.95
# How long a generator may take beyond its measured time; opening 9,000 connections takes a while.
GRACE_SECONDS = 60


class Settings:
    """The options of the command line and the resources of the machine."""

    def __init__(self, tools, cores, rounds, duration, count, smoke):
        self.tools = tools
        self.generator_core, self.server_core = cores
        self.rounds = rounds
        self.duration = duration
        # How often a campaign runs each of its cases.
        self.count = count
        self.smoke = smoke


class Case:
    """One tool against one server. `before(server)` runs before the tool, `after(server)` after it. The figures of `after`
    are part of the record, and so is the tool's resident memory `rss_after_seconds` after its start."""

    def __init__(self, name, tool, server, path="/", before=None, after=None, rss_after_seconds=None):
        self.name = name
        self.tool = tool
        self.server = server
        self.path = path
        self.before = before
        self.after = after
        self.rss_after_seconds = rss_after_seconds


def measure(settings, subject, cases):
    """Runs the cases round by round and returns all records, also those of discarded rounds. A smoke run has one round."""
    records = []
    discard = not settings.smoke
    repeats_left = 0 if settings.smoke else REPEATS_MAX
    counted = 0
    turn = 0
    while counted < settings.rounds:
        all_before, stolen_before = process.machine_times()
        # Each round begins with a different tool, so that a tool does not always run after the same other one.
        order = cases[turn % len(cases):] + cases[:turn % len(cases)]
        round_records = [measure_one(settings, subject, case) for case in order]
        all_after, stolen_after = process.machine_times()
        steal = (stolen_after - stolen_before) / (all_after - all_before)
        disturbed = steal > STEAL_SHARE_MAX
        if discard:
            role = "discarded"
            discard = False
        elif disturbed and repeats_left > 0:
            role = "repeated"
            repeats_left -= 1
        else:
            role = "counted"
            counted += 1
        for record in round_records:
            record.update(round=turn, role=role, steal_share=round(steal, 5), disturbed=disturbed)
        records += round_records
        turn += 1
        summary = "  ".join(f"{r['case']} {r['requests_per_second']:,.0f}/s" for r in round_records)
        print(f"  {subject} round {turn} ({role}): {summary}", file=sys.stderr, flush=True)
    return records


def measure_one(settings, subject, case):
    server = case.server
    command = case.tool.command(server.url(case.path))
    if case.before:
        case.before(server)
    server_user, server_system = server.cpu_seconds()
    finished = process.run(command, settings.generator_core, settings.duration + GRACE_SECONDS, case.rss_after_seconds,
                           terminal=case.tool.terminal)
    server_user_after, server_system_after = server.cpu_seconds()
    reading = case.tool.read(finished.stdout)
    if case.after:
        reading.update(case.after(server))
    requests = reading["requests"]
    generator_seconds = finished.user_seconds + finished.system_seconds
    server_seconds = server_user_after - server_user + server_system_after - server_system
    return {
        "subject": subject,
        "case": case.name,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [part.rpartition("/")[2] if index == 0 else part for index, part in enumerate(command)],
        "server": server.name,
        **reading,
        "cpu_us_per_request": generator_seconds * 1e6 / requests,
        "user_us_per_request": finished.user_seconds * 1e6 / requests,
        "system_us_per_request": finished.system_seconds * 1e6 / requests,
        "rss_peak_bytes": finished.rss_peak_bytes,
        "rss_bytes": finished.rss_bytes,
        "server_user_us_per_request": (server_user_after - server_user) * 1e6 / requests,
        "server_system_us_per_request": (server_system_after - server_system) * 1e6 / requests,
        "server_cpu_us_per_request": server_seconds * 1e6 / requests,
        # Only their own time, so that another process on a core cannot make a side look like the limit.
        "generator_core_share": generator_seconds / finished.seconds,
        "server_core_share": server_seconds / finished.seconds,
        "wall_seconds": finished.seconds,
    }


class Results:
    """The records of a subject, and the figures for its bars, from the counted records."""

    def __init__(self, records):
        self.records = records
        self.counted = [record for record in records if record["role"] == "counted"]

    def cases(self):
        return list(dict.fromkeys(record["case"] for record in self.counted))

    def values(self, case, metric):
        values = {r["round"]: r[metric] for r in self.counted if r["case"] == case and r.get(metric) is not None}
        if not values:
            raise BenchError(f"no run of {case} reports {metric}")
        return values

    def median(self, case, metric):
        return statistics.median(self.values(case, metric).values())

    def ratio(self, case, base, metric):
        """Returns the median of the ratios within each round, so that a drift of the machine cancels out."""
        numerators, denominators = self.values(case, metric), self.values(base, metric)
        return statistics.median(numerators[r] / denominators[r] for r in numerators if r in denominators)

    def is_limit(self, side, case):
        """Returns whether one side, `generator` or `server`, was the limit."""
        return self.median(case, f"{side}_core_share") >= BUSY_SHARE


class Bar:
    """The limit that one figure must meet."""

    def __init__(self, what, measured, relation, limit, unit=""):
        self.what = what
        self.measured = measured
        self.relation = relation
        self.limit = limit
        self.unit = unit
        self.met = {"≥": measured >= limit, "≤": measured <= limit, "<": measured < limit}[relation]


def rate_bar(results, case, base, limit, other_side, what="requests/s", busy_ratio=BUSY_RATIO):
    """The bar for the rate of a case relative to another one. It is lower if the other side was the limit."""
    what = f"{what} relative to {base}"
    if results.is_limit(other_side, case) and limit > busy_ratio:
        share = results.median(case, f"{other_side}_core_share")
        what += f" (not {limit:g}: the {other_side} used {share:.0%} of its core)"
        limit = busy_ratio
    return Bar(what, results.ratio(case, base, "requests_per_second"), "≥", limit)


def rate_or_cpu_bars(results, case, base, limit, other_side, unit=("request", "requests"), busy_ratio=BUSY_RATIO):
    """The bar for the rate. If the other side was the limit, CPU must be better by the same factor, too."""
    one, many = unit
    bars = [rate_bar(results, case, base, limit, other_side, f"{many}/s", busy_ratio)]
    if results.is_limit(other_side, case):
        cpu = "server_cpu_us_per_request" if other_side == "generator" else "cpu_us_per_request"
        bars.append(Bar(f"CPU per {one} relative to {base}", results.ratio(case, base, cpu), "≤", round(1 / limit, 2)))
    return bars


class Subject:
    """The outcome of one subject: its records, its bars, and the metrics for its table. `how` says how it was measured, if not in
    rounds."""

    def __init__(self, records, bars, metrics, how=None):
        self.records = records
        self.bars = bars
        self.metrics = metrics
        self.how = how
