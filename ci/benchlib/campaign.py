"""Long campaigns: every measurement is written down at once, so an interrupted campaign continues where it was."""

import hashlib
import json
from pathlib import Path

from . import environment


class Campaign:
    """The records of one subject, measured with the same programs. A smoke run keeps nothing and begins anew."""

    def __init__(self, settings, subject, programs):
        """`programs` are the paths of what is measured: another build of them begins another campaign."""
        contents = b"".join(Path(program).read_bytes() for program in programs)
        self.digest = hashlib.sha256(contents).hexdigest()[:16]
        self.file = None if settings.smoke else environment.ROOT / "target" / "bench-campaigns" / f"{subject}.jsonl"
        self.subject = subject
        self.records = []
        if self.file and self.file.exists():
            records = map(json.loads, self.file.read_text().splitlines())
            self.records = [record for record in records if record["program"] == self.digest]

    def has(self, case, turn):
        """Whether this case was measured in this round."""
        return any(record["case"] == case and record["round"] == turn for record in self.records)

    def add(self, case, turn, record):
        """Keeps the record of a case and round."""
        record = {"subject": self.subject, "case": case, "round": turn, "program": self.digest, **record}
        self.records.append(record)
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with open(self.file, "a") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
