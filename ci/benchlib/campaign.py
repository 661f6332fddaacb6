"""A campaign: the same cases many times over, for a figure that is a count. It takes long, so it can be interrupted: each record
is appended to a file at once, and the next start goes on behind the last one, as long as the program is the same."""

import hashlib
import json
import sys
import time
from pathlib import Path

from . import environment

FOLDER = environment.ROOT / "target" / "bench-campaigns"


def run(settings, name, cases, measure, program="ringtide", count=None):
    """Calls `measure(case, turn)` for each case in each of `count` turns (`settings.count`), unless that has been done already. It
    returns a record with at least a `verdict`. Returns all records of these turns. A smoke run neither reads nor writes the file.
    A record whose `role` is not "counted" is kept, but measured again by the next start."""
    count = count or settings.count
    journal = FOLDER / f"{name}.jsonl"
    digest = hashlib.sha256(Path(environment.program(program)).read_bytes()).hexdigest()[:16]
    records = [] if settings.smoke else read(journal, digest, count, cases)
    done = {(record["case"], record["round"]) for record in records if record["role"] == "counted"}
    for turn in range(count):
        for case in cases:
            if (case, turn) in done:
                continue
            record = {"subject": name, "case": case, "round": turn, "role": "counted", "program": digest,
                      "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **measure(case, turn)}
            records.append(record)
            if not settings.smoke:
                journal.parent.mkdir(parents=True, exist_ok=True)
                with open(journal, "a") as file:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
            print(f"  {name} {turn + 1} of {count}, {case}: {record['verdict']}", file=sys.stderr, flush=True)
    return records


def read(journal, digest, count, cases):
    if not journal.exists():
        return []
    records = []
    for line in journal.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            # It was interrupted while it wrote this one, which is measured again.
            continue
        if record["program"] == digest and record["round"] < count and record["case"] in cases:
            records.append(record)
    return records
