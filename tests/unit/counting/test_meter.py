"""The meter: nothing is lost, whoever asks and however many they are."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.meter import Asked, Meter


def ask(
    meter: Meter,
    operation: str,
    program: str,
    *,
    status: int | None = 200,
    sent: int = 0,
    got: int = 0,
) -> None:
    with causes.acting(Cause(0, Program("program", program))), meter.counting(operation) as asked:
        asked.sent_bytes, asked.received_bytes = sent, got
        if status is not None:
            asked.answered(status)


requests = st.lists(
    st.tuples(
        st.sampled_from(["stat", "read_range", "write"]),
        st.sampled_from([f"p{number}" for number in range(12)]),
        st.sampled_from([200, 404, 503, 429, None]),
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    max_size=60,
)


@given(requests, st.integers(1, 5))
def test_sums_agree_however_few_programs_are_told_apart(
    made: list[tuple[str, str, int | None, int, int]], most: int
) -> None:
    meter = Meter(most_programs=most)
    for operation, program, status, sent, got in made:
        ask(meter, operation, program, status=status, sent=sent, got=got)
    report = meter.report()
    by_operation, by_program = report["requests"].values(), report["programs"]
    failed = [status in (503, 429, None) for _, _, status, _, _ in made]
    for name, wanted in (
        ("requests", len(made)),
        ("failures", sum(failed)),
        ("sent_bytes", sum(sent for *_, sent, _ in made)),
        ("received_bytes", sum(got for *_, got in made)),
    ):
        assert sum(row[name] for row in by_operation) == wanted
        assert sum(row[name] for row in by_program) == wanted
    assert sum(sum(row["operations"].values()) for row in by_program) == len(made)
    assert len([row for row in by_program if row["kind"] != "others"]) <= most
    assert all(row["in_flight"] == 0 for row in by_operation)


def test_the_program_with_the_fewest_requests_joins_the_others() -> None:
    meter = Meter(most_programs=2)
    for _ in range(3):
        ask(meter, "stat", "busy")
    ask(meter, "stat", "rare")
    ask(meter, "write", "new", sent=7)
    rows = meter.report()["programs"]
    assert [(row["kind"], row["name"], row["requests"]) for row in rows] == [
        ("program", "busy", 3),
        ("others", "others", 1),
        ("program", "new", 1),
    ]


def test_a_request_is_in_flight_until_it_ends() -> None:
    meter = Meter()
    asked = meter.begin("stat")
    assert meter.in_flight == meter.report()["requests"]["stat"]["in_flight"] == 1
    meter.end(asked)
    assert meter.in_flight == 0
    assert meter.totals() == ({"stat": 1}, 0)


def test_whoever_asks_has_waited() -> None:
    cause = Cause(0, Program("program", "cat"))
    with causes.acting(cause):
        Meter().begin("stat")
    assert cause.has_waited


@pytest.mark.parametrize(
    ("status", "is_failure"),
    [
        *[(200, False), (404, False), (412, False), (612, False), (614, False)],
        *[(None, True), (429, True), (500, True), (503, True), (599, True)],
    ],
)
def test_what_is_a_failure(status: int | None, is_failure: bool) -> None:
    asked = Asked("stat", Cause(0))
    if status is not None:
        asked.answered(status)
    assert asked.has_failed() is is_failure


def test_only_answers_have_a_latency() -> None:
    meter = Meter()
    ask(meter, "stat", "cat", status=None)
    latency: dict[str, Any] = meter.report()["requests"]["stat"]["latency_s"]
    assert latency["max"] == 0
    ask(meter, "stat", "cat")
    assert meter.report()["requests"]["stat"]["latency_s"]["max"] > 0


def test_threads_may_count_at_once() -> None:
    meter = Meter()

    def work() -> None:
        for _ in range(500):
            ask(meter, "stat", "cat", got=1)
            meter.retried("stat")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = meter.report()["requests"]["stat"]
    assert (figures["requests"], figures["received_bytes"], figures["retries"]) == (2000,) * 3
