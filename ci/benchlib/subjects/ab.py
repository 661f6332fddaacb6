"""How often `ringtide ab` sees a difference that is not there, and how often it finds one that is."""

import contextlib
import json
import statistics
import subprocess
import sys
import time

from .. import campaign, environment, process, servers
from ..errors import BenchError
from ..session import Bar, Results, Subject

INTENT = """
`ringtide ab -d 20s` of a server against itself, and against one that is 5 % slower; both also beside a process that works in
bursts on either core. The servers are `ringtide serve --burn 20us` and the same with so much more to burn that its rate alone
is 5 % lower. They share a core, of which only one is in use at a time. A pair that is not valid does not count.
"""
# It takes more than an hour, so it runs only when it is named.
ONLY_WHEN_NAMED = True
SECONDS = 20
BURN_NS = 20_000
SLOWER = 0.05
CONNECTIONS = 64
# The length of a burst and of the pause between two, on average.
BURST_SECONDS, PAUSE_SECONDS = 0.7, 1.5
CASES = {
    "itself": (False, False),
    "5 % slower": (True, False),
    "itself, beside bursts": (False, True),
    "5 % slower, beside bursts": (True, True),
}


def measure(settings):
    seconds = 4 if settings.smoke else SECONDS
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(servers.ringtide(settings.server_core, flags=["--burn", f"{BURN_NS}ns"]))
        burn_ns = BURN_NS + 1_000 if settings.smoke else burn_of_the_slower(settings, base)
        slower = stack.enter_context(servers.ringtide(settings.server_core, flags=["--burn", f"{burn_ns}ns"]))

        def measure_one(case, turn):
            is_slower, has_bursts = CASES[case]
            with bursts(settings, turn) if has_bursts else contextlib.nullcontext():
                record = compare(settings, base, slower if is_slower else base, turn, seconds)
            return {"burn_ns": burn_ns if is_slower else BURN_NS, **record}

        records = campaign.run(settings, "ab", CASES, measure_one)
    results = Results(records)
    bars = []
    for case, (is_slower, _) in CASES.items():
        verdicts = [record["verdict"] for record in results.counted if record["case"] == case]
        if is_slower:
            bars.append(Bar(f"found in {len(verdicts)}: {case}", verdicts.count("slower"), "≥", 0.9 * len(verdicts)))
        else:
            alarms = len(verdicts) - verdicts.count("no difference")
            bars.append(Bar(f"false alarms in {len(verdicts)}: {case}", alarms, "≤", 0.1 * len(verdicts)))
    metrics = ["difference", "detectable", "pairs", "excluded", "server_core_share"]
    how = f"{settings.count} comparisons of {seconds} s of each case, in turn"
    return Subject(results.records, bars, metrics, how), results


def compare(settings, base, other, seed, seconds):
    command = [environment.program("ringtide"), "ab", base.url("/"), other.url("/"), "-c", str(CONNECTIONS), "-t", "1",
               "-d", f"{seconds}s", "--seed", str(seed + 1), "--format", "json", "--quiet"]
    command = ["taskset", "-c", str(settings.generator_core), *command]
    all_before, stolen_before = process.machine_times()
    busy_before = sum(sum(server.cpu_seconds()) for server in {base, other})
    started = time.monotonic()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 60)
    wall_seconds = time.monotonic() - started
    busy = sum(sum(server.cpu_seconds()) for server in {base, other}) - busy_before
    all_after, stolen_after = process.machine_times()
    # 3 is "slower".
    if ended.returncode not in (0, 3):
        raise BenchError(f"`{' '.join(command)}` exited with {ended.returncode}:\n{ended.stderr}")
    report = json.loads(ended.stdout)
    rate = report["metrics"].get("requests_per_second")
    steal_share = (stolen_after - stolen_before) / (all_after - all_before)
    return {
        "disturbed": steal_share > 0.01,
        "steal_share": round(steal_share, 5),
        "verdict": report["verdict"],
        "pairs": report["pairs"],
        "excluded": report["excluded"],
        "difference": rate and rate["difference"],
        "detectable": report["power"] and report["power"]["detectable"],
        "server_core_share": busy / wall_seconds,
        "report": report,
    }


def burn_of_the_slower(settings, base):
    """Returns what a server must burn so that its rate alone is lower by SLOWER, found by measuring."""
    burn_ns = BURN_NS + round(SLOWER * 1.5 * BURN_NS)
    for _ in range(4):
        with servers.ringtide(settings.server_core, flags=["--burn", f"{burn_ns}ns"]) as slower:
            pairs = [(rate(settings, base), rate(settings, slower)) for _ in range(7)]
        request_ns = 1e9 / statistics.median(a for a, _ in pairs)
        ratio = statistics.median(b / a for a, b in pairs)
        if abs(ratio - (1 - SLOWER)) < 0.003:
            return burn_ns
        burn_ns += round(request_ns / (1 - SLOWER) - request_ns / ratio)
    print(f"  ab: the slower server is at {ratio:.4f} of the base", file=sys.stderr, flush=True)
    return burn_ns


def rate(settings, server):
    command = [environment.program("ringtide"), "run", server.url("/"), "-c", str(CONNECTIONS), "-t", "1", "-d", "1s",
               "--warmup", "200ms", "--format", "json", "--quiet"]
    finished = process.run(command, settings.generator_core, 60)
    return json.loads(finished.stdout)["requests_per_second"]


@contextlib.contextmanager
def bursts(settings, seed):
    """A process that computes in bursts, wherever the system puts it."""
    program = (
        "import random, time\n"
        f"chance = random.Random({seed})\n"
        "while True:\n"
        f"    end = time.monotonic() + chance.expovariate(1 / {BURST_SECONDS})\n"
        "    while time.monotonic() < end: pass\n"
        f"    time.sleep(chance.expovariate(1 / {PAUSE_SECONDS}))\n"
    )
    # This process is pinned, and its children would be as well.
    anywhere = ["taskset", "-c", f"{settings.generator_core},{settings.server_core}"]
    child = subprocess.Popen([*anywhere, sys.executable, "-c", program])
    try:
        yield
    finally:
        child.kill()
        child.wait()
