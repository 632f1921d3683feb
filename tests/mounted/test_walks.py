"""Programs that walk a tree pay for its keys, not for its directories."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.counting import Counted, counted
from tests.mounts.mounting import mounted

pytestmark = pytest.mark.mounted

WIDE, DEEP, FILES = 10, 4, 2
KEYS = WIDE * DEEP * FILES
DIRECTORIES = 1 + WIDE + WIDE * DEEP


@pytest.fixture(scope="module")
def bucket(request: pytest.FixtureRequest) -> Iterator[Counted]:
    """A bucket with 80 files in 51 directories without markers."""
    with counted("s3", request) as bucket:
        client = request.getfixturevalue("moto").client()
        name = bucket.url.removeprefix("s3://")
        for wide in range(WIDE):
            for deep in range(DEEP):
                for number in range(FILES):
                    key = f"top/w{wide:02}/d{deep}/f{number}"
                    client.put_object(Bucket=name, Key=key, Body=b"x" * 5000)
        yield bucket


def lists(asked: list[str]) -> int:
    return sum("list-type=2" in line for line in asked)


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("find {}", KEYS + DIRECTORIES),
        ("find {} -type f", KEYS),
        ("ls -R {} | grep '^f'", KEYS),
        ("tar cf - -C {} . | tar t | grep /f", KEYS),
        ("du -a {}", KEYS + DIRECTORIES),
    ],
)
def test_a_walk_lists_a_thousand_keys_at_a_time(
    bucket: Counted, tmp_path: Path, command: str, lines: int
) -> None:
    shown = []
    with mounted(
        bucket.url, tmp_path, bucket.options, "ttl=300", environment=bucket.environment
    ) as mount:
        shell = command.format(mount.path / "top")
        asked = bucket.count(
            lambda: shown.extend(
                subprocess.run(shell, shell=True, check=True, capture_output=True)
                .stdout.decode()
                .splitlines()
            )
        )
    assert len(shown) == lines
    # The top, looked up and listed; its first directory is looked up before a walk is recognised.
    assert lists(asked) <= 5
    heads = [line for line in asked if line.startswith("HEAD") and line.endswith("/")]
    assert len(heads) <= 4


def test_rsync_and_rm_walk_as_well(bucket: Counted, tmp_path: Path) -> None:
    with mounted(
        bucket.url, tmp_path, bucket.options, "ttl=300", environment=bucket.environment
    ) as mount:
        copy = tmp_path / "copy"
        asked = bucket.count(
            lambda: subprocess.run(["rsync", "-a", f"{mount.path}/top/", copy], check=True)
        )
        assert lists(asked) <= 6
        assert sum(path.is_file() for path in copy.rglob("*")) == KEYS
    with mounted(
        bucket.url, tmp_path, bucket.options, "ttl=300", environment=bucket.environment, name="rm"
    ) as mount:
        copied = mount.path / "copied"
        shutil.copytree(copy, copied)
        assert sum(path.is_file() for path in copied.rglob("*")) == KEYS
        subprocess.run(["rm", "-r", copied], check=True)
        assert not copied.exists()
    with mounted(
        bucket.url, tmp_path, bucket.options, environment=bucket.environment, name="after"
    ) as mount:
        assert not (mount.path / "copied").exists()
        assert sum(path.is_file() for path in (mount.path / "top").rglob("*")) == KEYS
