"""Reads results by the libraries of their formats: results_reader.py HDR OPENMETRICS JUNIT. Prints what it has seen as JSON."""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from junitparser import JUnitXml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

HIGHEST_NS = 3_600_000_000_000


def main():
    hdr, openmetrics, junit = sys.argv[1:]
    print(json.dumps({"hdr": read_hdr(hdr), "openmetrics": read_openmetrics(openmetrics), "junit": read_junit(junit)}))


def read_hdr(file):
    reader = HistogramLogReader(file, HdrHistogram(1, HIGHEST_NS, 3))
    total, tagged, intervals = HdrHistogram(1, HIGHEST_NS, 3), {}, 0
    while histogram := reader.get_next_interval_histogram():
        if tag := histogram.get_tag():
            tagged[tag] = tagged.get(tag, 0) + histogram.get_total_count()
        else:
            total.add(histogram)
            intervals += 1
    shares = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    us = {name: total.get_value_at_percentile(share) / 1e3 for name, share in shares.items()}
    return {"count": total.get_total_count(), "us": us, "tagged": tagged, "intervals": intervals}


def read_openmetrics(file):
    with open(file) as text:
        families = text_string_to_metric_families(text.read())
        return {family.name: [{**sample.labels, "value": sample.value} for sample in family.samples] for family in families}


def read_junit(file):
    found = JUnitXml.fromfile(file)
    suites = found if found._tag == "testsuites" else [found]
    return [{"name": case.name, "failed": not case.is_passed} for suite in suites for case in suite]


main()
