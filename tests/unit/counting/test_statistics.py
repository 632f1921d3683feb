"""The report: JSON, and a bill only where prices are known."""

from __future__ import annotations

import json

import pytest

from bucketfs.counting.calls import Calls
from bucketfs.counting.prices import Prices
from bucketfs.counting.statistics import Statistics

BUDGETS = {"requests": {"used": 0, "limit": 32}}
FIELDS = {"format", "uptime_s", "requests", "programs", "kernel", "budgets", "crawlers", "bill"}


def test_the_fields_are_those_documented() -> None:
    statistics = Statistics(scheme="s3")
    with statistics.meter.counting("stat") as asked:
        asked.answered(200)
    report = json.loads(json.dumps(statistics.report(Calls(), BUDGETS)))
    assert report.keys() == FIELDS
    assert report["requests"]["stat"].keys() == {
        "requests",
        "failures",
        "retries",
        "in_flight",
        "sent_bytes",
        "received_bytes",
        "latency_s",
    }
    assert report["requests"]["stat"]["latency_s"].keys() == {"p50", "p90", "p99", "max", "total"}
    assert report["programs"][0].keys() == {
        "kind",
        "name",
        "requests",
        "failures",
        "sent_bytes",
        "received_bytes",
        "operations",
    }


@pytest.mark.parametrize("scheme", ["file", "memory", "libcloud"])
def test_what_nobody_bills_has_no_bill(scheme: str) -> None:
    assert Statistics(scheme=scheme).report(Calls(), BUDGETS)["bill"] is None


def test_prices_of_ones_own_come_first() -> None:
    own = Prices("ours", "EUR", {}, 0.0)
    for scheme in ("s3", "file"):
        report = Statistics(scheme=scheme, prices=own, has_endpoint=True).report(Calls(), BUDGETS)
        assert (report["bill"]["prices"], report["bill"]["currency"]) == ("ours", "EUR")


def test_a_server_that_somebody_named_is_not_amazon() -> None:
    named = Statistics(scheme="s3", has_endpoint=True).report(Calls(), BUDGETS)["bill"]["prices"]
    assert named.startswith("as if it were Amazon S3")
    assert Statistics(scheme="s3").report(Calls(), BUDGETS)["bill"]["prices"].startswith("Amazon")


def test_crawlers_may_be_allowed() -> None:
    allowing = Statistics(scheme="s3", crawlers="allow")
    assert allowing.crawlers is None
    assert allowing.report(Calls(), BUDGETS)["crawlers"] == {"mode": "allow", "refused": {}}
