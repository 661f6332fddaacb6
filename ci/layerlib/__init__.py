"""What ci/layers finds out about the files of a crate."""
