"""A second mount with the same cache folder needs listings only, and tells the same truth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bucketfs.namespace.remembered import SETTLED_AFTER_S, WRITE_EVERY_S
from tests.mounted.counting import Counted, counted
from tests.mounts.mounting import Mount, mounted

pytestmark = pytest.mark.mounted

SOON_S = SETTLED_AFTER_S + 2 * WRITE_EVERY_S + 1.0


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Iterator[Counted]:
    with counted("s3", request) as bucket:
        yield bucket


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("moto").client()


def fill(bucket: Counted, client: Any) -> None:
    """Put files of all sorts beside any mount, in directories with markers and without."""
    name = bucket.url.removeprefix("s3://")

    def put(key: str, data: bytes = b"", **metadata: str) -> None:
        client.put_object(Bucket=name, Key=key, Body=data, Metadata=metadata)

    put("top/", mode=str(0o40711), uid="7", gid="8", mtime="1500000000")
    put("top/deep/", mode=str(0o40700), mtime="1500000001.5")
    for directory in ("top/", "top/deep/", "top/plain/", "plain/", "plain/below/"):
        for number, mode in enumerate((0o600, 0o644, 0o755)):
            beside = {"mode": str(0o100000 | mode), "uid": str(number), "mtime": f"1{number}"}
            put(f"{directory}f{number}", b"x" * number, **beside)
        put(f"{directory}link", b"f1", mode=str(0o120777))
        put(f"{directory}large", b"x" * 300_000)


def long_listing(mount: Mount) -> str:
    done = subprocess.run(
        ["ls", "-lR", "--time-style=full-iso", "."],
        cwd=mount.path,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    # Directories without markers are as old as the mount.
    return re.sub(r"(?m)^(d.*) \S+ \S+ \S+ (plain|below)$", r"\1 \2", done.stdout)


def asked_for(bucket: Counted, mount: Mount) -> tuple[str, list[str]]:
    """Return what `ls -lR` says, and the requests that it costs but for listings."""
    shown: list[str] = []
    asked = bucket.count(lambda: shown.append(long_listing(mount)))
    assert asked
    return shown[0], [line for line in asked if "list-type=2" not in line]


def test_a_second_mount_needs_listings_only(bucket: Counted, client: Any, tmp_path: Path) -> None:
    fill(bucket, client)
    time.sleep(SETTLED_AFTER_S + 1)
    given = (bucket.url, tmp_path, bucket.options)
    with mounted(*given, environment=bucket.environment) as mount:
        first, asked = asked_for(bucket, mount)
        assert asked, "attributes were asked for"
        assert "link -> f1" in first
    file = tmp_path / "mnt.cache" / "attributes.db"
    assert file.stat().st_mode & 0o777 == 0o600
    with mounted(*given, environment=bucket.environment) as mount:
        assert asked_for(bucket, mount) == (first, [])


COMMANDS = (
    "find . ! -type d -printf '%p %M %U %G %s %T@ %C@ %l\\n'",
    "find . -newer top/f1 ! -type d",
    "rsync -an --out-format='%i %n %L' --omit-dir-times . {}",
)


def test_programs_see_the_same_at_every_call(bucket: Counted, client: Any, tmp_path: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("not installed: rsync")
    fill(bucket, client)
    time.sleep(SETTLED_AFTER_S + 1)
    (tmp_path / "empty").mkdir()

    def run(mount: Mount) -> list[str]:
        return [
            subprocess.run(
                command.format(tmp_path / "empty"),
                shell=True,
                cwd=mount.path,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for command in COMMANDS
        ]

    given = (bucket.url, tmp_path, bucket.options, "ttl=1")
    with mounted(*given, environment=bucket.environment) as mount:
        first = run(mount)
    assert all(len(text.splitlines()) > 10 for text in first)
    with mounted(*given, environment=bucket.environment) as mount:
        for _ in range(3):
            shown: list[str] = []
            asked = bucket.count(lambda shown=shown: shown.extend(run(mount)))  # type: ignore[misc]
            assert shown == first
            assert [line for line in asked if "list-type=2" not in line] == []
            time.sleep(1)


def test_what_others_changed_between_is_asked_for_again(
    bucket: Counted, client: Any, tmp_path: Path
) -> None:
    fill(bucket, client)
    time.sleep(SETTLED_AFTER_S + 1)
    given = (bucket.url, tmp_path, bucket.options)
    with mounted(*given, environment=bucket.environment) as mount:
        first, _ = asked_for(bucket, mount)
    name = bucket.url.removeprefix("s3://")
    for key in ("top/deep/f1", "top/deep/"):
        client.copy_object(
            Bucket=name,
            Key=key,
            CopySource={"Bucket": name, "Key": key},
            Metadata={"mode": str(0o100604 if key.endswith("1") else 0o40755), "uid": "4711"},
            MetadataDirective="REPLACE",
        )
    client.delete_object(Bucket=name, Key="top/plain/f0")
    with mounted(*given, environment=bucket.environment) as mount:
        second, asked = asked_for(bucket, mount)
    assert {line.split("?")[0].rpartition("/top/")[2] for line in asked} <= {"deep/f1", "deep/"}
    with mounted(*given, environment=bucket.environment, name="other") as other:
        assert second == long_listing(other)
    assert second != first
    assert "4711" in second


def test_a_killed_mount_loses_the_last_moments_only(
    bucket: Counted, client: Any, tmp_path: Path
) -> None:
    fill(bucket, client)
    given = (bucket.url, tmp_path, bucket.options)
    with mounted(*given, environment=bucket.environment) as mount:
        # At the top: other directories get new times by it, which stay here until they are saved.
        (mount.path / "own").write_bytes(b"mine")
        (mount.path / "own").chmod(0o640)
        os.symlink("own", mount.path / "mine")
        (mount.path / "made").mkdir(mode=0o750)
        time.sleep(SETTLED_AFTER_S + 1)
        first, _ = asked_for(bucket, mount)
        time.sleep(SOON_S)
        mount.kill()
    with mounted(*given, environment=bucket.environment) as mount:
        second, asked = asked_for(bucket, mount)
    assert second == first
    # What the mount stored itself is asked for once: it was only believed.
    assert {line.split("?")[0].split("/", 2)[2] for line in asked} <= {"own", "mine", "made/"}
