"""The parts of `ci/bench`. The subjects, one per file, are in `benchlib.subjects`."""
