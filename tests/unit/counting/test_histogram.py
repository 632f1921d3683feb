"""The histogram: quantiles within the documented error of the exact ones."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.counting.histogram import BOUNDS_S, LEAST_S, MOST_RATIO, Histogram

durations = st.lists(
    st.floats(min_value=LEAST_S, max_value=BOUNDS_S[-1], allow_nan=False), min_size=1, max_size=300
)
shares = st.floats(min_value=0, max_value=1)


def filled(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    for value in seconds:
        histogram.add(value)
    return histogram


def exact(seconds: list[float], share: float) -> float:
    """Return the value of nearest rank."""
    return sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]


@given(durations, shares)
def test_a_quantile_is_near_the_exact_one(seconds: list[float], share: float) -> None:
    found, wanted = filled(seconds).quantile(share), exact(seconds, share)
    assert wanted / MOST_RATIO / 1.000001 <= found <= wanted * MOST_RATIO * 1.000001


def test_the_documented_error() -> None:
    assert MOST_RATIO < 1.045


@given(durations, shares, shares)
def test_quantiles_rise_up_to_the_exact_maximum(
    seconds: list[float], one: float, other: float
) -> None:
    histogram = filled(seconds)
    low, high = sorted((one, other))
    assert histogram.quantile(low) <= histogram.quantile(high) <= max(seconds)
    assert histogram.longest_s == max(seconds)
    assert histogram.count == len(seconds)


def test_what_is_too_short_or_too_long_to_tell() -> None:
    short, long = filled([0.0, 2e-7]), filled([BOUNDS_S[-1] * 3])
    assert short.quantile(0.5) == 2e-7
    assert filled([0.0, 5e-6]).quantile(0.5) == LEAST_S
    assert long.quantile(0.5) == BOUNDS_S[-1] * 3


def test_nothing_counted() -> None:
    assert Histogram().report() == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0, "total": 0.0}


@given(durations, durations)
def test_what_came_between_two_reports_is_a_histogram_of_its_own(
    first: list[float], then: list[float]
) -> None:
    histogram = filled(first)
    before = histogram.details()
    for value in then:
        histogram.add(value)
    found = Histogram.between(before, histogram.details())
    alone = filled(then)
    assert found.count == len(then)
    assert math.isclose(found.total_s, math.fsum(then), rel_tol=1e-6, abs_tol=1e-6)
    assert alone.longest_s <= found.longest_s <= alone.longest_s * MOST_RATIO**2 * 1.001
    for share in (0.5, 0.99):
        assert math.isclose(found.quantile(share), alone.quantile(share), rel_tol=0.1)
    assert Histogram.between({}, alone.details()).details() == alone.details()
