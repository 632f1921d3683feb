"""One request in ten fails: all data are right, no call hangs, errors are those of the table."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.stores import bucket_of
from tests.crash.storm import Storm
from tests.faults.proxy import doubled, faulty
from tests.faults.weather import LIES, PASSING, Weather

STORES = ("juicefs", "radosgw", "cos", "bos")


def run(
    request: pytest.FixtureRequest,
    store: str,
    folder: Path,
    faults: Sequence[str],
    rounds: int,
    round_s: float,
) -> None:
    server = request.getfixturevalue(store)
    seed = random.SystemRandom().getrandbits(32)
    with faulty(server.endpoint) as proxy:
        weather = Weather(seed, faults=faults)
        bucket = bucket_of(server, proxy.url)
        storm = Storm(
            bucket, folder, seed=seed, workers=4, proxy=proxy, weather=weather, round_s=round_s
        )
        score = storm.run(rounds)
    assert score.problems == [], (score, weather.met)
    assert score.acknowledged > 0
    assert weather.met


@pytest.mark.mounted
@pytest.mark.parametrize("store", ["radosgw", "bos"])
def test_all_data_are_right_while_requests_fail(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run(request, store, tmp_path, PASSING, 1, 8)


@pytest.mark.campaign
@pytest.mark.parametrize("faults", [PASSING, LIES], ids=["passing", "lies"])
@pytest.mark.parametrize("store", STORES)
def test_all_data_are_right_while_requests_fail_for_long(
    store: str, faults: Sequence[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run(request, store, tmp_path, faults, 5, 30)


def test_doubled_listings() -> None:
    xml = b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"
    assert doubled(xml).count(b"<Key>a</Key>") == 2
    assert doubled(b'{"name": "n", "contents": [{"key": "a"}]}').count(b'"a"') == 2
    assert doubled(b"bytes of an object") == b"bytes of an object"
