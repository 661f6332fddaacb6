"""What `ci/bench` is made of. The subjects, one per file, are in `benchlib.subjects`."""
