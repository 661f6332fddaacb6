"""The one error that ends a campaign: something is missing, did not run, or said what cannot be read."""


class BenchError(Exception):
    """Its text is all that the user gets to see."""
