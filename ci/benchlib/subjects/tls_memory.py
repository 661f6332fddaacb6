"""The resident memory that each waiting TLS connection costs the client."""

from .. import certificates, servers, tools
from ..errors import BenchError
from ..session import Bar, Case, Results, Subject, measure as measure_cases

FEW, MANY = 100, 5_000
MANY_SMOKE = 200
OPEN_FILES_NEEDED = MANY + 100


class Times:
    """When the response comes, when the memory is read, and how long the run lasts, in seconds after its start. A run lasts
    long enough for a response on each connection: that it comes proves that the connection waited."""

    def __init__(self, response, reading, run):
        self.response = response
        self.reading = reading
        self.run = run


TIMES = Times(20, 15, 26)
TIMES_SMOKE = Times(1, 0.75, 2)
INTENT = f"""
Resident memory of the generator while {FEW} and {MANY:,} TLS connections to `ringtide serve --tls` wait for a response that
comes after {TIMES.response} s, read {TIMES.reading} s after the start. Each run lasts {TIMES.run} s. The difference divided by
{MANY - FEW:,} is the cost of a waiting connection.
"""


def measure(settings):
    many, times = (MANY_SMOKE, TIMES_SMOKE) if settings.smoke else (MANY, TIMES)
    with certificates.made(settings.tools) as made, servers.ringtide(settings.server_core, made) as server:
        path = f"/delay/{times.response * 1000}"
        cases = []
        for connections in (FEW, many):
            for tool in (
                tools.ringtide(times.run, connections, "--cacert", made.authority),
                tools.wrk(settings.tools, times.run, connections, "--timeout", "60s"),
            ):
                name = f"{tool.name}, {connections}"
                cases.append(Case(name, tool, server, path, rss_after_seconds=times.reading))
        results = Results(measure_cases(settings, "tls-memory", cases))
    for record in results.records:
        if record["requests"] < int(record["case"].rpartition(" ")[2]):
            raise BenchError(f"{record['case']}: only {record['requests']} connections got their response")
    ringtide, wrk = (per_connection(results, tool, many) for tool in ("ringtide", "wrk"))
    bars = [Bar("memory per waiting connection relative to wrk", ringtide / wrk, "≤", 0.5)]
    return Subject(results.records, bars, ["rss_bytes", "rss_peak_bytes"]), results


def per_connection(results, tool, many):
    rss_many, rss_few = (results.median(f"{tool}, {count}", "rss_bytes") for count in (many, FEW))
    return (rss_many - rss_few) / (many - FEW)
