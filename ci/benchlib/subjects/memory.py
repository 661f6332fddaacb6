"""The resident memory that each additional connection costs."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Peak resident memory of the generator with 10 and with 9,000 connections to the bare server. The difference divided by
8,990 is the cost of a connection.
"""
FEW, MANY = 10, 9_000
MANY_SMOKE = 1_000
OPEN_FILES_NEEDED = MANY + 100


def measure(settings):
    many = MANY_SMOKE if settings.smoke else MANY
    with servers.floor(settings.server_core) as server:
        cases = []
        for connections in (FEW, many):
            for tool in (
                tools.ringtide(settings.duration, connections),
                tools.wrk(settings.tools, settings.duration, connections),
            ):
                cases.append(Case(f"{tool.name}, {connections}", tool, server))
        results = Results(measure_cases(settings, "memory", cases))
    bars = [Bar("ringtide's memory per connection", per_connection(results, "ringtide", many), "≤", 768, " B")]
    return Subject(results.records, bars, ["rss_peak_bytes", "requests_per_second"]), results


def per_connection(results, tool, many):
    rss_many, rss_few = (results.median(f"{tool}, {count}", "rss_peak_bytes") for count in (many, FEW))
    return (rss_many - rss_few) / (many - FEW)
