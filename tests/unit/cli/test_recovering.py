"""`bucketfs recover` and `pending` of cache folders, as a person and as a script meet them."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner, Result

import bucketfs.cli.main  # noqa: F401  (the commands)
from bucketfs.cli.app import app
from bucketfs.cli.pending import age_words, size_words
from bucketfs.errors import BucketfsError
from bucketfs.namespace.attributes import Attributes, to_metadata
from bucketfs.pagecache.journal import Journal
from bucketfs.pagecache.records import FileRecord
from bucketfs.storage.directory import DirectoryStore
from bucketfs.storage.interface import BytesBody, ObjectAttributes, ObjectInfo

MTIME_NS = 1_600_000_000_123_456_789
BESIDE = ObjectAttributes(
    to_metadata(
        Attributes(stat.S_IFREG | 0o4750, os.geteuid(), os.getegid(), MTIME_NS, MTIME_NS, MTIME_NS)
    )
)


def kept(number: int, key: str, data: bytes) -> FileRecord:
    """Return a small new file that is in its row."""
    return FileRecord(
        number=number,
        key=key,
        size=len(data),
        ranges=((0, len(data), "row"),) if data else (),
        spill=None,
        data=data,
        base=None,
        expected=None,
        attributes=BESIDE,
        kept_ns=MTIME_NS,
        attempts=2,
        last_error="503 slow down",
    )


def edited(number: int, key: str, base: ObjectInfo) -> FileRecord:
    """Return a file of 12 bytes of which the middle ones were written."""
    ranges = ((0, 4, "base"), (4, 8, "spill"), (8, 12, "base"))
    record = kept(number, key, b"")
    return replace(record, size=12, ranges=ranges, spill="1.spill", data=None, base=base)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    path = tmp_path / "bucket"
    path.mkdir()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    (path / "spill").mkdir(parents=True)
    return path


def keep(cache: Path, bucket: Path, records: Sequence[FileRecord]) -> None:
    """Leave a journal as a mount of the folder `bucket` would."""

    async def put() -> None:
        journal = Journal.open(cache, f"file://{bucket}")
        for record in records:
            await journal.put_file(record)
        await journal.aclose()

    trio.run(put)


def stored(bucket: Path, key: str, data: bytes) -> ObjectInfo:
    """Put an object into the bucket."""

    async def put() -> ObjectInfo:
        store = await DirectoryStore.open(bucket)
        info = await store.write(key, BytesBody(data), ObjectAttributes({}))
        await store.aclose()
        return info

    return trio.run(put)


def run(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


def files_below(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_kept_files_are_listed(cache: Path, bucket: Path) -> None:
    base = stored(bucket, "e", b"x" * 12)
    keep(cache, bucket, [kept(1, "d/small\udcff", b"data"), edited(2, "e", base)])
    before = files_below(cache)
    done = run("recover", cache)
    assert done.exit_code == 0
    first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert (first[0], first[1:3]) == ("/d/small\ufffd", ["4", "4"])
    assert first[4:] == ["2", "waiting", "503 slow down"]
    assert second[:3] == ["/e", "12", "4"]
    assert run("pending", cache).stdout.splitlines() != []
    document = json.loads(run("recover", cache, "--json").stdout)
    assert document["url"] == f"file://{bucket}"
    assert [file["bytes_in_bucket"] for file in document["files"]] == [0, 8]
    assert files_below(cache) == before, "listing changes nothing"


def test_whole_files_are_exported_with_their_attributes(
    cache: Path, bucket: Path, tmp_path: Path
) -> None:
    data = os.urandom(3 << 20)
    (cache / "spill" / "7.spill").write_bytes(data + b"left over")
    large = replace(kept(2, "dir/large", b""), size=len(data) + 10, spill="7.spill", data=None)
    large = replace(large, ranges=((0, len(data), "spill"), (len(data), len(data) + 10, "zero")))
    keep(cache, bucket, [kept(1, "dir", b"shadowed"), large, kept(3, "../up//x", b"odd")])
    before = files_below(cache)
    done = run("recover", cache, "--export", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (0, "")
    assert files_below(tmp_path / "out") == {
        "\N{SYMBOL FOR ESCAPE}fdir": b"shadowed",
        "dir/large": data + bytes(10),
        "\N{SYMBOL FOR ESCAPE}e../up/\N{SYMBOL FOR ESCAPE}e/x": b"odd",
    }
    state = (tmp_path / "out" / "dir" / "large").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o750, MTIME_NS)
    left = {name: data for name, data in files_below(cache).items() if name != "lock"}
    assert left == before, "the next mount still saves them"


def test_two_files_of_one_name_are_both_exported(cache: Path, bucket: Path, tmp_path: Path) -> None:
    keep(cache, bucket, [kept(1, "f", b"older"), kept(2, "f", b"newer")])
    assert run("recover", cache, "--export", tmp_path / "out").exit_code == 0
    assert files_below(tmp_path / "out") == {"f": b"older", "f.2": b"newer"}


def test_what_only_the_bucket_has_is_a_hole_and_said(
    cache: Path, bucket: Path, tmp_path: Path
) -> None:
    base = stored(bucket, "e", b"abcdefghijkl")
    (cache / "spill" / "1.spill").write_bytes(b"....EFGH")
    touched = replace(kept(3, "attributes", b""), base=base, size=12, ranges=((0, 12, "base"),))
    keep(cache, bucket, [edited(1, "e", base), kept(2, "whole", b"w"), touched])
    done = run("recover", cache, "--export", tmp_path / "out")
    assert done.exit_code == 1
    first, second, summary = done.stderr.splitlines()
    assert first.startswith("bucketfs: not whole: /attributes: only its attributes are here")
    assert second == (
        "bucketfs: not whole: /e: 8 bytes that only the bucket has are holes: 0-4, 8-12"
    )
    assert summary.startswith("bucketfs: error: 2 could not be exported whole; --fetch")
    holes = {"e": bytes(4) + b"EFGH" + bytes(4), "whole": b"w"}
    assert files_below(tmp_path / "out") == holes

    done = run("recover", cache, "--export", tmp_path / "fetched", "--fetch")
    assert (done.exit_code, done.stderr) == (0, "")
    assert files_below(tmp_path / "fetched")["attributes"] == b"abcdefghijkl"


@pytest.mark.parametrize("how", [["--fetch"], ["--url", "BUCKET"], ["-o", "timeout=5"]])
def test_what_only_the_bucket_has_is_fetched(
    cache: Path, bucket: Path, tmp_path: Path, how: list[str]
) -> None:
    base = stored(bucket, "e", b"abcdefghijkl")
    (cache / "spill" / "1.spill").write_bytes(b"....EFGH")
    keep(cache, bucket, [edited(1, "e", base), kept(2, "whole", b"w")])
    how = [word.replace("BUCKET", f"file://{bucket}") for word in how]
    done = run("recover", cache, "--export", tmp_path / "out", *how)
    assert (done.exit_code, done.stderr) == (0, "")
    assert files_below(tmp_path / "out") == {"e": b"abcdEFGHijkl", "whole": b"w"}


def test_a_version_that_is_gone_is_said(cache: Path, bucket: Path, tmp_path: Path) -> None:
    base = stored(bucket, "e", b"abcdefghijkl")
    stored(bucket, "e", b"replaced by others")
    (cache / "spill" / "1.spill").write_bytes(b"....EFGH")
    keep(cache, bucket, [edited(1, "e", base)])
    done = run("recover", cache, "--export", tmp_path / "out", "--fetch")
    assert done.exit_code == 1
    assert "not whole: /e: " in done.stderr
    assert files_below(tmp_path / "out") == {"e": bytes(4) + b"EFGH" + bytes(4)}


@pytest.mark.parametrize("spill", [None, b"....E"])
def test_bytes_that_are_gone_are_said(
    cache: Path, bucket: Path, tmp_path: Path, spill: bytes | None
) -> None:
    if spill is not None:
        (cache / "spill" / "1.spill").write_bytes(spill)
    keep(cache, bucket, [edited(1, "e", stored(bucket, "e", b"x" * 12)), kept(2, "f", b"whole")])
    done = run("recover", cache, "--export", tmp_path / "out")
    assert done.exit_code == 1
    assert "not whole: /e: " in done.stderr
    assert files_below(tmp_path / "out")["f"] == b"whole"


def test_nothing_is_written_over(cache: Path, bucket: Path, tmp_path: Path) -> None:
    keep(cache, bucket, [kept(1, "f", b"x")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    done = run("recover", cache, "--export", tmp_path / "out")
    assert isinstance(done.exception, BucketfsError)
    assert "not empty" in str(done.exception)


def test_a_living_mount_keeps_its_folder(cache: Path, bucket: Path, tmp_path: Path) -> None:
    keep(cache, bucket, [kept(1, "f", b"x")])
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arguments in (["--export", str(tmp_path / "out")], ["--forget", "f", "--yes"]):
            done = run("recover", cache, *arguments)
            assert isinstance(done.exception, BucketfsError)
            assert "a living mount uses" in str(done.exception)
        assert run("recover", cache, "--list").stdout.startswith("/f\t")
    assert run("recover", cache, "--export", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(
    ("typed", "flags", "status", "left"),
    [("y\n", [], 0, ["b"]), ("n\n", [], 1, ["a", "b"]), ("", ["--yes"], 0, ["b"])],
)
def test_only_what_is_named_and_confirmed_is_forgotten(
    cache: Path, bucket: Path, typed: str, flags: list[str], status: int, left: list[str]
) -> None:
    (cache / "spill" / "1.spill").write_bytes(b"....EFGH")
    base = stored(bucket, "a", b"x" * 12)
    keep(cache, bucket, [edited(1, "a", base), kept(2, "b", b"kept")])
    done = run("recover", cache, "--forget", "/a", *flags, typed=typed)
    assert done.exit_code == status
    assert [record.key for record in Journal.read(cache).files] == left
    assert (cache / "spill" / "1.spill").exists() == ("a" in left)


def test_a_name_that_is_not_there_forgets_nothing(cache: Path, bucket: Path) -> None:
    keep(cache, bucket, [kept(1, "a", b"x")])
    done = run("recover", cache, "--forget", "a", "--forget", "b", "--yes")
    assert done.exit_code == 1
    assert done.stderr == "bucketfs: error: no kept file is called /b\n"
    assert len(Journal.read(cache).files) == 1


def test_what_was_moved_aside_is_named_and_can_be_exported(
    cache: Path, bucket: Path, tmp_path: Path
) -> None:
    (cache / "spill" / "1.spill").write_bytes(b"....EFGH")
    record = replace(edited(1, "e", stored(bucket, "e", b"x" * 12)), ranges=((4, 8, "spill"),))
    keep(cache, bucket, [record])
    lost = cache / "lost+found" / "20260101T000000Z"
    lost.mkdir(parents=True)
    (cache / "journal.db").rename(lost / "journal.db")
    (cache / "spill" / "1.spill").rename(lost / "1.spill")
    (cache / "lock").touch()
    done = run("recover", cache)
    assert isinstance(done.exception, BucketfsError)
    assert f"{lost}: 1.spill, journal.db" in str(done.exception)
    assert run("recover", lost, "--export", tmp_path / "out").exit_code == 0
    assert files_below(tmp_path / "out") == {"e": bytes(4) + b"EFGH" + bytes(4)}
    keep(cache, bucket, [])
    assert f"moved aside by an earlier mount: {lost}" in run("recover", cache).stderr


@pytest.mark.parametrize("command", ["recover", "pending"])
def test_what_is_no_cache_folder_is_said(tmp_path: Path, command: str) -> None:
    for place in (tmp_path, tmp_path / "none"):
        done = run(command, place)
        assert isinstance(done.exception, BucketfsError)
        assert str(place) in str(done.exception)


def test_a_damaged_journal_is_said(cache: Path, tmp_path: Path) -> None:
    (cache / "journal.db").write_bytes(b"no database" * 1000)
    for arguments in ([], ["--export", str(tmp_path / "out")]):
        done = run("recover", cache, *arguments)
        assert isinstance(done.exception, BucketfsError)
        assert "journal.db" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_contradictions_are_refused(cache: Path, tmp_path: Path) -> None:
    assert run("recover", cache, "--list", "--forget", "a").exit_code == 2
    assert run("recover", cache, "--export", tmp_path / "out", "--forget", "a").exit_code == 2


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size_words(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "open"), (5.2, "5 s"), (200, "3 min"), (7200, "2 h"), (2e5, "2 d")],
)
def test_ages_in_words(seconds: float | None, words: str) -> None:
    assert age_words(seconds) == words
