"""Whether the latencies that an open loop reports are true: against servers of known delay, which record what they did."""

import json
import urllib.request
from collections import namedtuple

from .. import campaign, environment, process, servers
from ..errors import BenchError
from ..session import GRACE_SECONDS, STEAL_SHARE_MAX, Bar, Results, Subject

INTENT = """
Constant rates against a server of known delay on the other core, over HTTP/1.1 and HTTP/2, with enough connections that none
is waited for unless the server stalls. The server never sleeps, draws a delay for each request, and records the time from the
turn that brought the request to the end of the turn in which the kernel took the answer.

The truth about `latency_us.response` is what the server recorded (each percentile, and the mean), plus the unloaded round
trip: the median that a client without sleep measures over one idle connection, without what the server recorded of it. When the
server stalls for 200 ms every 5 s, requests wait before they reach it. There the truth is the schedule: the k-th request is due
at k divided by the rate, and was answered by the k-th answer in the server's log, as all delays are the same; then the same
round trip. Where the schedule begins is fitted: half of the requests arrived after they were due, half before.

p50, p75, p90, p95 and the mean may be off by 1 % or 50 µs, whichever is more, p99 by 1 % or 300 µs. The bars show the error
that remains as a share of this. p99.9 and the maximum are shown only: they are largely the machine's. A cell is repeated if more
than 1 % of the machine's time went to other guests, or if either side waited more than 0.5 % of it for its core. What never found
the machine quiet is named DISTURBED; the next start measures it again.
"""
# It takes a quarter of an hour, so it runs only when it is named.
ONLY_WHEN_NAMED = True
OPEN_FILES_NEEDED = 14_000

# Its delay on average and its flags.
Known = namedtuple("Known", "mean_s flags")
STALLS = ["--stall", "200ms", "--every", "5s"]
STALLS_SMOKE = ["--stall", "50ms", "--every", "500ms"]
SERVERS = {
    "fixed 1 ms": Known(0.001, ["--delay", "1ms"]),
    "1 or 20 ms": Known(0.00233, ["--delay", "1ms,20ms,0.07"]),
    "0 to 100 ms": Known(0.05, ["--delay", "0ms..100ms"]),
    "1 ms and stalls": Known(0.001, ["--delay", "1ms", *STALLS]),
}
# The first stall begins after half of 5 s, so these are two.
STALL_SECONDS_MIN = 11
STREAMS = 100
CONNECTIONS_MIN = {"HTTP/1.1": 64, "HTTP/2": 10}
RATES = {"1,000/s": 1_000, "10,000/s": 10_000, "half of the capacity": None}
DRAIN_SECONDS = 3
# What a cell may lose to others, of either side's time.
WAITED_SHARE_MAX = 0.005
TRIES = 4
JUDGED = ("mean", "p50", "p75", "p90", "p95")
ALLOWED_SHARE, ALLOWED_US, ALLOWED_P99_US = 0.01, 50, 300


def measure(settings):
    cells = cells_of(settings)
    round_trip_us = measure_round_trip(settings)
    capacity = {protocol: measure_capacity(settings, protocol) for protocol in CONNECTIONS_MIN}

    def measure_one(case, _turn):
        name, rate_name, protocol = cells[case]
        return measure_cell(settings, name, RATES[rate_name] or capacity[protocol] // 2, protocol, round_trip_us)

    records = campaign.run(settings, "accuracy", cells, measure_one, count=settings.rounds)
    quiet = {record["case"] for record in records if record["role"] == "counted"}
    for record in records:
        if record["case"] not in quiet:
            record["case"] += ", DISTURBED"
            record["role"] = "counted"
    results = Results(records)
    bars = []
    for case in results.cases():
        bars += [
            Bar(f"{case}: worst of p50 to p95 and mean, of what is allowed", results.median(case, "off_share"), "≤", 1),
            Bar(f"{case}: p99, of what is allowed", results.median(case, "p99_off_share"), "≤", 1),
        ]
    metrics = ["requests_per_second", *(f"off_{name}_us" for name in (*JUDGED, "p99", "p99_9", "max")), "run_queue_share",
               "tries"]
    how = f"{settings.rounds} rounds of {settings.duration:g} s a cell"
    return Subject(results.records, bars, metrics, how), results


def cells_of(settings):
    """Each cell by its name. A smoke run has every server and every protocol once or twice."""
    found = {}
    for index, name in enumerate(SERVERS):
        for rate_name in RATES:
            for protocol in CONNECTIONS_MIN:
                if not settings.smoke or (rate_name == "1,000/s" and (protocol == "HTTP/2") == (index % 2 == 1)):
                    found[f"{name}, {rate_name}, {protocol}"] = (name, rate_name, protocol)
    return found


def measure_cell(settings, name, rate, protocol, round_trip_us):
    """Measures until the machine was quiet, at most TRIES times; then the quietest one is as good as it gets."""
    tries = 1 if settings.smoke else TRIES
    found = []
    for _ in range(tries):
        found.append(measure_once(settings, name, rate, protocol, round_trip_us))
        if not found[-1]["disturbed"]:
            break
    record = min(found, key=lambda record: record["run_queue_share"] + record["steal_share"])
    role = "disturbed" if record["disturbed"] and not settings.smoke else "counted"
    return {**record, "role": role, "tries": len(found)}


def measure_once(settings, name, rate, protocol, round_trip_us):
    known = SERVERS[name]
    stalls = "--stall" in known.flags
    seconds = max(settings.duration, STALL_SECONDS_MIN) if stalls and not settings.smoke else settings.duration
    flags = known.flags[:-len(STALLS)] + STALLS_SMOKE if stalls and settings.smoke else known.flags
    with servers.delay(settings.server_core, *flags) as server:
        command = [environment.program("ringtide"), "run", server.url(), "-t", "1", "-d", f"{seconds}s", "-R", str(rate),
                   "--drain", f"{DRAIN_SECONDS}s", "--format", "json", "--quiet", *connections(protocol, rate * known.mean_s)]
        all_before, stolen_before = process.machine_times()
        server_before = process.run_queue_seconds_of(server.process.pid)
        # Seldom sampled: this process runs on the server's core.
        finished = process.run(command, settings.generator_core, seconds + GRACE_SECONDS, sample_seconds=1)
        server_seconds = process.run_queue_seconds_of(server.process.pid) - server_before
        all_after, stolen_after = process.machine_times()
        truth = ask(server, f"?rate={rate}")
    report = json.loads(finished.stdout)
    requests = report["requests"]
    if requests["completed"] != truth["count"]:
        raise BenchError(f"{name}: the server answered {truth['count']} requests, and ringtide counts {requests}")
    if stalls and not truth["stalls_us"]:
        raise BenchError(f"{name}: the server did not stall within {seconds} s")
    true_us = truth["scheduled_us"] if stalls else truth["delay_us"]
    measured_us = report["latency_us"]["response"]
    off_us = {key: measured_us[key] - true_us[key] - round_trip_us for key in true_us}

    def share(key, floor_us):
        return abs(off_us[key]) / max(ALLOWED_SHARE * (true_us[key] + round_trip_us), floor_us)

    # Without its core at the end, the generator cannot send what has come due.
    unsent_share = requests["censored"] / requests["scheduled"]
    run_queue_share = max(finished.run_queue_seconds, server_seconds) / finished.seconds
    steal_share = (stolen_after - stolen_before) / (all_after - all_before)
    shares = {
        "off_share": max(share(key, ALLOWED_US) for key in JUDGED),
        "p99_off_share": share("p99", ALLOWED_P99_US),
    }
    return {
        "verdict": "{off_share:.2f} and at p99 {p99_off_share:.2f} of what it may be off".format(**shares),
        "disturbed": steal_share > STEAL_SHARE_MAX or max(run_queue_share, unsent_share) > WAITED_SHARE_MAX,
        "steal_share": round(steal_share, 5),
        "run_queue_share": round(run_queue_share, 5),
        "unsent_share": unsent_share,
        "generator_waited_seconds": finished.run_queue_seconds,
        "server_waited_seconds": server_seconds,
        "rate": rate,
        "requests_per_second": report["requests_per_second"],
        "round_trip_us": round_trip_us,
        **shares,
        **{f"off_{key}_us": off for key, off in off_us.items()},
        "truth": truth,
        "measured_us": measured_us,
        "schedule_lag_us": report["latency_us"]["schedule_lag"],
        "generator_verdict": report["verdict"],
        "generator": report["generator"],
    }


def connections(protocol, in_flight):
    """Flags for as many connections that twice the requests in flight on average find room."""
    places = 2 * in_flight + CONNECTIONS_MIN["HTTP/1.1"]
    if protocol == "HTTP/1.1":
        return ["-c", str(max(CONNECTIONS_MIN[protocol], round(places)))]
    return ["--http2", "-p", str(STREAMS), "-c", str(max(CONNECTIONS_MIN[protocol], round(places / STREAMS)))]


def measure_round_trip(settings):
    requests = 100 if settings.smoke else 2_000
    with servers.delay(settings.server_core) as server:
        command = [environment.example("round_trip_client"), "--addr", f"127.0.0.1:{server.port}", "--requests", str(requests)]
        finished = process.run(command, settings.generator_core, GRACE_SECONDS)
        return float(finished.stdout) - ask(server)["delay_us"]["p50"]


def measure_capacity(settings, protocol):
    if settings.smoke:
        return 0
    with servers.delay(settings.server_core) as server:
        command = [environment.program("ringtide"), "run", server.url(), "-t", "1", "-d", "2s", "--format", "json", "--quiet",
                   *connections(protocol, 0)]
        finished = process.run(command, settings.generator_core, GRACE_SECONDS)
        return round(json.loads(finished.stdout)["requests_per_second"])


def ask(server, query=""):
    """What the server recorded since it was last asked."""
    with urllib.request.urlopen(server.url(f"/report{query}"), timeout=30) as response:
        return json.load(response)
