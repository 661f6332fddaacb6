"""Whether the verdict of `ringtide run` is right: a generator that is starved must not be valid, and a server that is slow, stalls
or does not read must not make it so."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time

from .. import campaign, environment, process, servers
from ..errors import BenchError
from ..session import STEAL_SHARE_MAX, Bar, Results, Subject

INTENT = """
Short runs of `ringtide run` whose verdict is known beforehand. Starved on purpose, it must be "not valid" every time; with enough
time for the generator, it must be "valid" every time, whatever the server does. Of these, runs in which the hypervisor gave more
than 1 % of the machine's time to others are excluded, and counted. The server is the bare one (`floor_server`), and for slow
responses `ringtide serve`.
"""
# It takes a quarter of an hour, so it runs only when it is named.
ONLY_WHEN_NAMED = True
SECONDS = 1.2
CONNECTIONS = 64
# How often, and for how long, a server is stopped that stalls.
STALL_EVERY_SECONDS, STALL_SECONDS = 0.4, 0.15
BODY_SIZE = 8 * 1024 * 1024

STARVED = ["beside a busy loop", "beside a busy loop, 1,000/s", "4 workers on 2 cores", "a rate beyond one core"]
ENOUGH = ["half of the capacity", "a slow server", "a slow server, 1,000/s", "a server that stalls", "a server that does not read"]


def measure(settings):
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(servers.floor(settings.server_core))
        slow = stack.enter_context(servers.ringtide(settings.server_core))
        body = stack.enter_context(tempfile.NamedTemporaryFile())
        body.write(bytes(BODY_SIZE))
        body.flush()
        capacity = capacity_of(settings, bare)
        runs = Runs(settings, bare, slow, body.name, capacity)
        records = campaign.run(settings, "verdict", STARVED + ENOUGH, runs.measure)
    results = Results(records)
    bars = []
    for case in STARVED + ENOUGH:
        of_case = [record for record in results.counted if record["case"] == case]
        if case in STARVED:
            found = sum(record["valid"] is False for record in of_case)
            bars.append(Bar(f"not valid in {len(of_case)}: {case}", found, "≥", max(len(of_case), 1)))
        else:
            quiet = [record for record in of_case if not record["disturbed"]]
            found = sum(record["valid"] is True for record in quiet)
            what = f"valid in {len(quiet)} ({len(of_case) - len(quiet)} excluded): {case}"
            bars.append(Bar(what, found, "≥", max(len(quiet), 1)))
    metrics = ["requests_per_second", "busy_share", "run_queue_share", "schedule_lag_p99_us", "response_p99_us", "steal_share"]
    how = f"{settings.count} runs of {SECONDS:g} s of each case, in turn"
    return Subject(results.records, bars, metrics, how), results


class Runs:
    """The runs, by the names of their cases."""

    def __init__(self, settings, bare, slow, body, capacity):
        self.settings = settings
        self.bare = bare
        self.slow = slow
        self.body = body
        self.capacity = capacity

    def measure(self, case, turn):
        own, both = str(self.settings.generator_core), f"{self.settings.generator_core},{self.settings.server_core}"
        many, url = ["-c", str(CONNECTIONS), "-t", "1"], self.bare.url()
        match case:
            case "beside a busy loop":
                return self.run(turn, url, many, own, busy_loop(own))
            case "beside a busy loop, 1,000/s":
                return self.run(turn, url, [*many, "-R", "1000"], own, busy_loop(own))
            case "4 workers on 2 cores":
                return self.run(turn, url, ["-c", str(CONNECTIONS), "-t", "4"], both)
            case "a rate beyond one core":
                return self.run(turn, url, [*many, "-R", f"{2 * self.capacity:.0f}"], own)
            case "half of the capacity":
                return self.run(turn, url, [*many, "-R", f"{0.5 * self.capacity:.0f}"], own)
            case "a slow server":
                return self.run(turn, self.slow.url("/delay/20"), many, own)
            case "a slow server, 1,000/s":
                return self.run(turn, self.slow.url("/delay/20"), [*many, "-R", "1000"], own)
            case "a server that stalls":
                return self.run(turn, url, [*many, "-R", "5000"], own, stalls(self.bare))
            case "a server that does not read":
                flags = ["-c", "16", "-t", "1", "-X", "POST", "-b", f"@{self.body}"]
                return self.run(turn, self.slow.url("/echo"), flags, own, stopped(self.slow))
        raise AssertionError(case)

    def run(self, turn, url, flags, cores, around=None):
        command = [environment.program("ringtide"), "run", url, "-d", f"{SECONDS}s", "--seed", str(turn + 1),
                   "--format", "json", "--quiet", *flags]
        command = ["taskset", "-c", cores, *command]
        with around or contextlib.nullcontext():
            all_before, stolen_before = process.machine_times()
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS + 60)
            all_after, stolen_after = process.machine_times()
        if ended.returncode != 0:
            raise BenchError(f"`{' '.join(command)}` exited with {ended.returncode}:\n{ended.stderr}")
        result = json.loads(ended.stdout)
        verdict, workers = result["verdict"], result["generator"]["workers"]
        steal_share = (stolen_after - stolen_before) / (all_after - all_before)
        words = {True: "valid", False: "not valid", None: "not judged"}[verdict["valid"]]
        latencies = result["latency_us"]
        # Too large for a campaign, and not asked for.
        for name in ("histograms", "series"):
            result.pop(name, None)
        return {
            "command": command,
            "disturbed": steal_share > STEAL_SHARE_MAX,
            "steal_share": round(steal_share, 5),
            "verdict": f"{words}{': ' if verdict['reasons'] else ''}{'; '.join(verdict['reasons'])}",
            "valid": verdict["valid"],
            "requests_per_second": result["requests_per_second"],
            "busy_share": max(worker["busy_share"] for worker in workers),
            "run_queue_share": max(worker["run_queue_share"] for worker in workers),
            "schedule_lag_p99_us": latencies["schedule_lag"]["p99"],
            "response_p99_us": latencies["response"]["p99"],
            "report": result,
        }


def capacity_of(settings, server):
    """Returns the requests/s of a closed loop."""
    command = [environment.program("ringtide"), "run", server.url(), "-c", str(CONNECTIONS), "-t", "1", "-d", "2s", "--warmup",
               "300ms", "--format", "json", "--quiet"]
    return json.loads(process.run(command, settings.generator_core, 60).stdout)["requests_per_second"]


@contextlib.contextmanager
def busy_loop(core):
    child = subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", "while True: pass"])
    try:
        # Until it has started.
        time.sleep(0.2)
        yield
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def stopped(server):
    """The server accepts nothing and reads nothing; the kernel accepts for it."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextlib.contextmanager
def stalls(server):
    """The server is stopped again and again."""
    over = threading.Event()

    def stall():
        while not over.wait(STALL_EVERY_SECONDS):
            server.pause()
            time.sleep(STALL_SECONDS)
            server.resume()

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
