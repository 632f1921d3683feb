"""Kill -9 at random moments: nothing that was acknowledged is lost (docs/reliability.md).

Ten kills here; `scripts/crash` makes as many as one likes. A seed of its own for every run, shown
where something fails: the moments are random anyway.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.campaign import DEFAULT, OPTIONS, WRITEBACK, Campaign
from tests.crash.stores import bucket_of

KILLS = {
    ("radosgw", DEFAULT): 2,
    ("radosgw", WRITEBACK): 3,
    ("cos", DEFAULT): 2,
    ("bos", WRITEBACK): 3,
}
LONG_KILLS = 50


def run(store: str, mode: str, kills: int, request: pytest.FixtureRequest, folder: Path) -> None:
    bucket = bucket_of(request.getfixturevalue(store))
    seed = random.SystemRandom().getrandbits(32)
    score = Campaign(bucket, folder, mode, seed, longest_round_s=1.5).run(kills)
    assert score.problems == [], score
    assert score.kills == kills
    assert score.acknowledged > 0


@pytest.mark.mounted
@pytest.mark.parametrize(("store", "mode"), KILLS)
def test_nothing_acknowledged_is_lost(
    store: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run(store, mode, KILLS[store, mode], request, tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("store", ["juicefs", "radosgw", "cos", "bos"])
def test_nothing_acknowledged_is_lost_in_many_kills(
    store: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run(store, mode, LONG_KILLS, request, tmp_path)
