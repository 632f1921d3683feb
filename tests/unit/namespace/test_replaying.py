"""Replaying: what tells the objects of a job from those that others have made since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bucketfs.errors import InvalidRequest
from bucketfs.namespace import jobs
from bucketfs.namespace.gate import KeyGate
from bucketfs.namespace.replaying import SAME_MOMENT_NS, Replayer
from bucketfs.storage.interface import (
    BytesBody,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Version,
)
from bucketfs.storage.memory import MemoryStore

from .trees import NO_MOVE

SECOND_NS = 10**9


class DatedStore(MemoryStore):
    """A bucket whose clock is set."""

    def __init__(self) -> None:
        super().__init__(capabilities=NO_MOVE, now_ns=lambda: self.now_ns)
        self.now_ns = 1000 * SECOND_NS

    async def put(self, key: str, data: bytes = b"bytes") -> ObjectInfo:
        return await self.write(key, BytesBody(data), ObjectAttributes())

    async def keys(self) -> list[str]:
        return [info.key for info in (await self.list_page("")).objects]


@pytest.fixture
def store() -> DatedStore:
    return DatedStore()


@pytest.fixture
def replayer(store: DatedStore) -> Replayer:
    return Replayer(store, KeyGate(), concurrency=4)


def details_of(info: ObjectInfo, modified_ns: int | None = None) -> dict[str, str]:
    known_ns = info.modified_ns if modified_ns is None else modified_ns
    return {"key": info.key, "version": info.version, "modified_ns": str(known_ns)}


async def test_a_delete_takes_what_it_was_begun_for(store: DatedStore, replayer: Replayer) -> None:
    details = details_of(await store.put("f"))
    await replayer.replay(jobs.DELETE, details)
    assert await store.keys() == []
    await replayer.replay(jobs.DELETE, details)


async def test_a_time_that_is_unknown_or_a_moment_off_keeps_nothing_from_going(
    store: DatedStore, replayer: Replayer
) -> None:
    for offset in (0, 1000 * SECOND_NS - SAME_MOMENT_NS):
        await replayer.replay(jobs.DELETE, details_of(await store.put("f"), offset))
        assert await store.keys() == []


async def test_the_same_version_made_later_is_the_file_of_others(
    store: DatedStore, replayer: Replayer
) -> None:
    info = await store.put("f")
    details = details_of(info, info.modified_ns - SAME_MOMENT_NS - 1)
    await replayer.replay(jobs.DELETE, details)
    assert await store.keys() == ["f"]


@pytest.mark.allows_warnings
async def test_what_came_below_the_old_name_after_the_copies_stays(
    store: DatedStore, replayer: Replayer, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put("d/a")
    for key in ("x/", "x/a", "x/later"):
        await store.put(key)
    newest_ns = store.now_ns
    store.now_ns += SECOND_NS
    await store.put("d/later")
    details = {
        "old": "d/",
        "new": "x/",
        "phase": jobs.DELETING,
        "replaces": "",
        "newest_ns": str(newest_ns),
    }
    outcome = await replayer.replay(jobs.RENAME_DIRECTORY, details)
    assert outcome.moved == ("d/", "x/")
    assert await store.keys() == ["d/later", "x/", "x/a", "x/later"]
    assert "1 objects stay" in caplog.text


async def test_nothing_is_undone_where_the_old_tree_is_gone(
    store: DatedStore, replayer: Replayer
) -> None:
    for key in ("x/", "x/a"):
        await store.put(key)
    details = {"old": "d/", "new": "x/", "phase": jobs.COPYING, "replaces": ""}
    await replayer.replay(jobs.RENAME_DIRECTORY, details)
    assert await store.keys() == ["x/", "x/a"]


async def test_jobs_of_other_versions_are_refused(store: DatedStore, replayer: Replayer) -> None:
    with pytest.raises(KeyError):
        await replayer.replay("of the future", {})
    await store.put("f")
    with pytest.raises(KeyError):
        await replayer.replay(jobs.DELETE, {"key": "f"})
    assert await store.keys() == ["f"]
    details = {"old": "d/", "new": "x/", "phase": "of the future", "replaces": ""}
    with pytest.raises(ValueError, match="of the future"):
        await replayer.replay(jobs.RENAME_DIRECTORY, details)


class FolderStore(DatedStore):
    """A gateway to a file system: a copy that was cut off leaves its folder behind."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: set[str] = set()

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        page = await super().list_page(prefix, delimiter, marker, limit)
        bare = [
            folder
            for folder in sorted(self.folders)
            if delimiter and folder.startswith(prefix) and "/" not in folder[len(prefix) : -1]
        ]
        return replace(page, prefixes=[*page.prefixes, *(f for f in bare if f != prefix)])

    async def delete(self, key: str, if_version: Version | None = None) -> None:
        if any(folder != key and folder.startswith(key) for folder in self.folders):
            raise InvalidRequest("the folder is not empty", key=key)
        self.folders.discard(key)
        await super().delete(key, if_version)


async def test_an_undone_rename_leaves_no_folders_of_copies_that_were_cut_off() -> None:
    store = FolderStore()
    await store.put("old/")
    await store.put("old/below/f")
    store.folders = {"new/", "new/below/", "newer/"}
    details = {"old": "old/", "new": "new/", "phase": jobs.COPYING, "replaces": ""}
    await Replayer(store, KeyGate(), concurrency=4).replay(jobs.RENAME_DIRECTORY, details)
    assert store.folders == {"newer/"}
    assert await store.keys() == ["old/", "old/below/f"]
