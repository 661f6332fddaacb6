"""The one error that ends a campaign: something is missing, did not run, or printed what cannot be read."""


class BenchError(Exception):
    """The user sees its text and nothing else."""
