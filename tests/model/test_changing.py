"""Nothing torn, nothing stale beyond the ttl, no ghosts, while others change everything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.model.changing import TTL_S, History, Storm, content
from tests.mounted.conftest import s3_options
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


def storm(server: RunningS3, folder: Path, seed: int, seconds: float, *options: str) -> Storm:
    bucket = server.make_bucket()
    given = (s3_options(server), f"ttl={TTL_S:g}", *options)
    with mounted(f"s3://{bucket}", folder, *given, environment=server.environment) as mount:
        storm = Storm(mount.path, server.client(), bucket, seed, seconds)
        storm.run()
    return storm


@pytest.mark.mounted
def test_a_changing_bucket_is_seen_as_it_was_within_the_ttl(
    radosgw: RunningS3, tmp_path: Path
) -> None:
    found = storm(radosgw, tmp_path, 1, 12)
    assert found.failures == []
    kinds = ("changes", "reads", "looks", "absent", "walks", "writes")
    assert all(found.counts[kind] for kind in kinds), found.counts


@pytest.mark.campaign
@pytest.mark.mounted
@pytest.mark.parametrize("attributes", ["auto", "exact", "listing"])
@pytest.mark.parametrize("seed", range(2, 12))
def test_for_long(radosgw: RunningS3, tmp_path: Path, seed: int, attributes: str) -> None:
    found = storm(radosgw, tmp_path, seed, 60, f"attributes={attributes}")
    assert found.failures == []


def test_the_judge_sees_what_is_stale_torn_and_missing() -> None:
    history = History()
    for version in (1, 2, None):
        change = history.begin("k", version)
        change.ended_s = change.began_s + 0.001
        time.sleep(0.01)
    first, second, gone = history.changes["k"]
    assert history.might_be("k", 1, 0.0, first.ended_s)
    assert not history.might_be("k", 1, second.ended_s + 0.001, time.monotonic())
    assert history.might_be("k", 1, second.began_s, time.monotonic())
    assert not history.might_be("k", 2, gone.ended_s + 0.001, time.monotonic())
    assert history.might_be("k", None, gone.began_s, time.monotonic())
    assert not history.might_be("k", None, second.began_s, second.ended_s)
    assert history.surely_there("k", first.ended_s, second.ended_s)
    assert not history.surely_there("k", first.ended_s, gone.ended_s)
    assert not history.surely_there("k", 0.0, first.ended_s)
    assert history.changed("k", second.began_s, second.ended_s)
    assert not history.changed("k", gone.ended_s + 0.001, time.monotonic())
    assert content("k", 1) != content("k", 2)
