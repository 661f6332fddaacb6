"""The error that ends a campaign: something is missing, did not run, or printed an unreadable result."""


class BenchError(Exception):
    """The user sees only its text."""
