"""The analysis of source files for ci/layers."""
