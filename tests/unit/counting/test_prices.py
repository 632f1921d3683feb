"""Prices: the estimate is linear, a month is a month, and a wrong file is one clear line."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.counting.prices import (
    BUILT_IN,
    CLASS_OF,
    CLASSES,
    GIB,
    MONTH_S,
    Prices,
    bill,
    cost,
    parse_prices,
)
from bucketfs.errors import ConfigurationError

counts = st.dictionaries(st.sampled_from([*CLASS_OF, "region"]), st.integers(0, 10**9))
sizes = st.integers(0, 1 << 50)
amounts = st.floats(0, 1000, allow_nan=False)
some_prices = st.builds(
    Prices,
    st.just("x"),
    st.just("EUR"),
    st.fixed_dictionaries(dict.fromkeys(CLASSES, amounts)),
    amounts,
)


@given(some_prices, counts, counts, sizes, sizes)
def test_costs_add_up(
    prices: Prices, one: dict[str, int], other: dict[str, int], small: int, large: int
) -> None:
    both = {name: one.get(name, 0) + other.get(name, 0) for name in one | other}
    first, second = cost(prices, one, small), cost(prices, other, large)
    together = cost(prices, both, small + large)
    assert together.total == pytest.approx(first.total + second.total)
    assert together.total == pytest.approx(together.requests + together.egress)


@given(some_prices, counts, sizes, st.floats(60, 1e8))
def test_a_month_is_the_pace_of_the_time_observed(
    prices: Prices, requests: dict[str, int], received_bytes: int, observed_s: float
) -> None:
    found = bill(prices, requests, received_bytes, observed_s)
    so_far, month = found["so_far"]["total"], found["per_30_days"]["total"]
    assert month == pytest.approx(so_far * MONTH_S / observed_s, rel=1e-6, abs=1e-4)
    json.dumps(found, allow_nan=False)


def test_a_month_of_a_month_is_what_was_spent() -> None:
    requests = {"write": 1000, "list_page": 1000, "stat": 10_000, "delete": 10**6}
    found = bill(BUILT_IN["s3"], requests, 10 * GIB, MONTH_S)
    assert found["so_far"] == found["per_30_days"]
    # 1000 PUTs and 1000 LISTs at 0.005 for 1000, 10,000 HEADs at 0.0004, 10 GB at 0.09.
    assert found["so_far"]["requests"] == pytest.approx(0.005 + 0.005 + 0.004)
    assert found["so_far"]["egress"] == pytest.approx(0.90)
    assert (found["currency"], found["observed_s"]) == ("USD", MONTH_S)


def test_nothing_observed_yet() -> None:
    assert bill(BUILT_IN["cos"], {}, 0, 0.0)["per_30_days"]["total"] == 0


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_every_cloud_has_a_price_for_every_class(scheme: str) -> None:
    prices = BUILT_IN[scheme]
    assert prices.requests.keys() == set(CLASSES)
    assert prices.egress_per_gb > 0
    assert any(char.isdigit() for char in prices.name), "since when?"


def test_every_operation_of_the_dialects_has_a_class() -> None:
    unpriced = {"append", "begin_upload", "add_part", "copy_part", "commit", "abort", "list_parts"}
    unpriced |= {"stat", "read_range", "list_page", "write", "copy", "move", "delete"}
    unpriced |= {"delete_many", "list_uploads", "check", "make_symlink", "read_symlink"}
    assert unpriced == CLASS_OF.keys()
    assert set(CLASS_OF.values()) == set(CLASSES)


FULL = """
name = "our gateway"
currency = "EUR"
egress_per_gb = 0.01
[requests_per_10000]
write = 0.05
read = 0.004
list = 1
delete = 0
"""


def test_a_file_of_prices() -> None:
    wanted = {"write": 0.05, "read": 0.004, "list": 1.0, "delete": 0.0}
    assert parse_prices(FULL, "f") == Prices("our gateway", "EUR", wanted, 0.01)
    assert parse_prices('currency = "EUR"', "f") == Prices("f", "EUR", {}, 0.0)
    assert cost(parse_prices('currency = "EUR"', "f"), {"write": 10}, 10).total == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("currency = ", "is no TOML"),
        ("", "currency is missing"),
        ("currency = 3", "currency is missing"),
        ('currency = "EUR"\nname = 3', "name is no text"),
        ('currency = "EUR"\negress = 1', "knows no 'egress'; it has name, currency"),
        ('currency = "EUR"\negress_per_gb = "1"', "egress_per_gb is no price: '1'"),
        ('currency = "EUR"\negress_per_gb = -1', "egress_per_gb is no price: -1"),
        ('currency = "EUR"\negress_per_gb = nan', "is no price: nan"),
        ('currency = "EUR"\negress_per_gb = true', "is no price: True"),
        ('currency = "EUR"\nrequests_per_10000 = 1', "is a table"),
        ('currency = "EUR"\n[requests_per_10000]\nput = 1', "knows no 'put'; it has write, read"),
        ('currency = "EUR"\n[requests_per_10000]\nread = []', "read is no price: []"),
    ],
)
def test_a_wrong_file_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_prices(text, "prices=/etc/p.toml")
    message = str(caught.value)
    assert said in message
    assert message.startswith("prices=/etc/p.toml")
    assert "\n" not in message


@given(st.text(max_size=80))
def test_any_text_is_prices_or_an_error_of_ours(text: str) -> None:
    with suppress(ConfigurationError):
        assert parse_prices(text, "f").currency
