"""A folder as a bucket: what the contract cannot see, because it looks at the files."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from bucketfs.errors import (
    BucketNotFound,
    InvalidKey,
    InvalidRequest,
    ObjectChanged,
    ObjectNotFound,
    QuotaExceeded,
)
from bucketfs.storage.directory import DirectoryStore
from bucketfs.storage.directory.folder import Draft
from bucketfs.storage.interface import BytesBody, MemorySink, ObjectAttributes, ObjectInfo

PLAIN = ObjectAttributes()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryStore]:
    (tmp_path / "bucket").mkdir()
    opened = await DirectoryStore.open(tmp_path / "bucket")
    yield opened
    await opened.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


async def put(store: DirectoryStore, key: str, data: bytes = b"x") -> ObjectInfo:
    return await store.write(key, BytesBody(data), PLAIN)


async def keys(store: DirectoryStore) -> list[str]:
    return [info.key for info in (await store.list_page("")).objects]


async def test_objects_are_files(store: DirectoryStore, folder: Path) -> None:
    await put(store, "a/b.txt", b"hello")
    assert (folder / "a/b.txt").read_bytes() == b"hello"
    (folder / "a/c.txt").write_bytes(b"from outside")
    assert (await store.stat("a/c.txt")).size == 12
    assert dict((await store.stat("a/c.txt")).metadata or {}) == {}
    assert await keys(store) == ["a/b.txt", "a/c.txt"]


async def test_nothing_of_its_own_is_shown(store: DirectoryStore, folder: Path) -> None:
    await put(store, "a")
    assert (folder / ".bucketfs").is_dir()
    assert await keys(store) == ["a"]
    assert (await store.list_page("", "/")).prefixes == []
    with pytest.raises(ObjectNotFound):
        await store.stat(".bucketfs/locks/00")
    with pytest.raises(InvalidKey):
        await put(store, ".bucketfs-x")
    await put(store, "below/.bucketfs")


async def test_links_do_not_lead_outside(
    store: DirectoryStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (folder / "dir").symlink_to(tmp_path / "outside")
    (folder / "file").symlink_to(tmp_path / "outside/secret")
    for key in ("dir/secret", "file", "dir/"):
        with pytest.raises(ObjectNotFound):
            await store.stat(key)
    for key in ("dir/new", "file"):
        with pytest.raises(InvalidKey):
            await put(store, key)
    await store.delete("dir/secret")
    assert await keys(store) == []
    assert (await store.list_page("dir/")).objects == []
    assert (tmp_path / "outside/secret").read_bytes() == b"secret"
    assert list((tmp_path / "outside").iterdir()) == [tmp_path / "outside/secret"]


async def test_special_files_are_hidden(store: DirectoryStore, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with trio.fail_after(5), pytest.raises(ObjectNotFound):
        await store.stat("fifo")
    with trio.fail_after(5):
        await store.delete("fifo")
    assert (folder / "fifo").exists()
    assert await keys(store) == []


async def test_folders_of_people_are_markers_and_stay(store: DirectoryStore, folder: Path) -> None:
    (folder / "made").mkdir()
    assert (await store.stat("made/")).size == 0
    assert await keys(store) == ["made/"]
    await put(store, "made/a")
    await put(store, "implicit/b")
    await store.delete("made/a")
    await store.delete("implicit/b")
    assert (folder / "made").is_dir()
    assert not (folder / "implicit").exists()


async def test_a_failed_write_leaves_nothing(
    store: DirectoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, "a", b"old")

    def fail(draft: Draft) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Draft, "sync", fail)
    with pytest.raises(QuotaExceeded):
        await put(store, "a", b"new")
    with pytest.raises(QuotaExceeded):
        await put(store, "new/b", b"new")
    assert (folder / "a").read_bytes() == b"old"
    assert await keys(store) == ["a"]
    assert list((folder / ".bucketfs/drafts").iterdir()) == []


async def test_versions_never_come_back(store: DirectoryStore) -> None:
    seen = {(await put(store, "a", b"same")).version for _ in range(200)}
    assert len(seen) == 200


async def test_a_change_from_outside_is_a_new_version(store: DirectoryStore, folder: Path) -> None:
    info = await put(store, "a", b"old")
    with (folder / "a").open("r+b") as file:
        file.write(b"new")
    with pytest.raises(ObjectChanged):
        await store.read_range("a", 0, 3, MemorySink(bytearray(3)), info.version)


async def test_a_change_while_it_is_read_is_noticed(store: DirectoryStore, folder: Path) -> None:
    info = await put(store, "a", b"0123456789")

    class Meddling(MemorySink):
        def room(self) -> memoryview:
            with (folder / "a").open("r+b") as file:
                file.write(b"changed")
            return super().room()

    with pytest.raises(ObjectChanged):
        await store.read_range("a", 0, 10, Meddling(bytearray(10)), info.version)


async def test_a_folder_that_is_gone_is_not_an_empty_bucket(
    store: DirectoryStore, folder: Path
) -> None:
    await store.list_page("")
    os.rmdir(folder)
    for call in (store.stat("a"), store.list_page(""), put(store, "a"), store.delete("a")):
        with pytest.raises(BucketNotFound):
            await call


async def test_too_much_metadata_is_refused(store: DirectoryStore) -> None:
    with pytest.raises(InvalidRequest):
        await store.write("a", BytesBody(b"x"), ObjectAttributes({"long": "v" * 2048}))


async def test_pages_of_a_listing_read_the_folder_once(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await put(store, f"{number:02}")
    scans = 0
    scandir = os.scandir

    def counting(fd: int) -> object:
        nonlocal scans
        scans += 1
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", counting)
    marker, found = None, []
    while True:
        page = await store.list_page("", "/", marker, 3)
        found += [info.key for info in page.objects]
        marker = page.next_marker
        if marker is None:
            break
    assert found == [f"{number:02}" for number in range(20)]
    assert scans == 1
    # A page whose walk was used up begins a new one and is the same.
    assert [info.key for info in (await store.list_page("", "/", "02", 3)).objects] == [
        "03",
        "04",
        "05",
    ]
    assert scans == 2


async def test_two_stores_over_one_folder(store: DirectoryStore, folder: Path) -> None:
    other = await DirectoryStore.open(folder)
    positions: list[int] = []

    async def append_all(of: DirectoryStore) -> None:
        while len(positions) < 40:
            try:
                size = (await of.stat("log")).size
                positions.append((await of.append("log", size, BytesBody(b"x"))).size)
            except ObjectChanged:
                continue

    await put(store, "log", b"")
    async with trio.open_nursery() as nursery:
        for of in (store, other, store, other):
            nursery.start_soon(append_all, of)
    assert sorted(positions) == list(range(1, len(positions) + 1))
    await other.aclose()


async def test_writes_and_deletes_in_one_implicit_folder(store: DirectoryStore) -> None:
    async def churn(name: str) -> None:
        for _ in range(15):
            await put(store, f"d/e/{name}")
            await store.delete(f"d/e/{name}")

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(churn, name)
    assert await keys(store) == []


async def test_abandoned_drafts_are_removed(store: DirectoryStore, folder: Path) -> None:
    await put(store, "a")
    for name, age_s in (("old", 90_000), ("new", 10)):
        draft = folder / ".bucketfs/drafts" / name
        draft.touch()
        when = draft.stat().st_mtime - age_s
        os.utime(draft, (when, when))
    await store.check()
    assert [path.name for path in (folder / ".bucketfs/drafts").iterdir()] == ["new"]
