"""A warm-up finds everything, fetches what fits, and names what failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bucketfs.counting import causes
from bucketfs.errors import StorageError
from bucketfs.fuse.warming import WarmUp
from bucketfs.namespace.finder import Finder
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.cache import PageCache
from bucketfs.storage.interface import (
    BytesBody,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    Sink,
    Version,
)
from bucketfs.storage.memory import MemoryStore
from tests.unit.fuse.lives import DEFAULTS

MIB = 1 << 20


class Store(MemoryStore):
    """A `MemoryStore` that fails for some keys and notes for whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.asked: list[str] = []
        self.causes: set[str] = set()
        self.at_once = self.most_at_once = 0

    async def read_range(
        self, key: str, start: int, length: int, sink: Sink, if_version: Version | None = None
    ) -> ObjectInfo:
        program = causes.current().program
        self.causes.add(program.name if program is not None else "")
        self.asked.append(key)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await trio.sleep(0.001)
            if key in self.failing:
                raise StorageError("no", key=key, operation="read")
            return await super().read_range(key, start, length, sink, if_version)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def mounted(store: Store, folder: Path, limit: int) -> AsyncIterator[tuple[Tree, PageCache]]:
    async with trio.open_nursery() as nursery:
        pages = PageCache(
            store,
            nursery,
            memory_bytes=32 * MIB,
            disk_bytes=64 * MIB,
            folder=folder,
            part_size=8 * MIB,
            concurrency=8,
            read_cache_bytes=limit,
            identity="b",
        )
        finder = Finder(store, ttl_s=5, defaults=DEFAULTS, concurrency=2, nursery=nursery)
        tree = Tree(store, finder, defaults=DEFAULTS, ttl_s=5, concurrency=2)
        yield tree, pages
        await pages.aclose()
        nursery.cancel_scope.cancel()


async def fill(store: Store, sizes: dict[str, int]) -> None:
    for key, size in sizes.items():
        await store.write(key, BytesBody(bytes(size)), ObjectAttributes())


def warming(tree: Tree, pages: PageCache, *paths: list[str]) -> WarmUp:
    warmer = pages.warmer()
    assert warmer is not None
    return WarmUp(tree, warmer, paths, concurrency=8)


async def test_everything_below_is_found_and_fetched_side_by_side(tmp_path: Path) -> None:
    store = Store()
    sizes = {f"d/s{number}/f": 10 + number for number in range(2500)}
    await fill(store, {**sizes, "d/": 0, "d/marker/": 0, "d/none": 0, "e": 3 * MIB, "f": 5})
    async with mounted(store, tmp_path, 256 * MIB) as (tree, pages):
        warm_up = warming(tree, pages, ["d"], ["e"])
        await warm_up.run()
        report = warm_up.report()
        assert warm_up.failures() == []
        assert (report["files"], report["files_found"]) == (2501, 2501)
        assert report["bytes"] == report["bytes_found"] == sum(sizes.values()) + 3 * MIB
        assert report["is_listed"]
        assert pages.statistics()["cached_blocks"] == 2503
        assert "f" not in store.asked
        assert store.most_at_once == 4
        assert store.causes <= {"warmup"}
        before = len(store.asked)
        await warming(tree, pages, ["d"], ["e"]).run()
        assert len(store.asked) == before
        await warming(tree, pages, []).run()
        assert store.asked[before:] == ["f"]


async def test_what_fails_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    store = Store()
    await fill(store, {f"f{number}": 100 for number in range(20)} | {"big": 70 * MIB})
    store.failing = {"f3", "big"}
    async with mounted(store, tmp_path, 256 * MIB) as (tree, pages):
        warm_up = warming(tree, pages, [], ["gone"])
        await warm_up.run()
        report = warm_up.report()
        assert sorted(failure["path"] for failure in warm_up.failures()) == ["/big", "/f3", "/gone"]
        assert (report["files"], report["failed_files"]) == (19, 3)


async def test_what_does_not_fit_is_not_fetched(tmp_path: Path) -> None:
    store = Store()
    await fill(store, {"a": 40 * MIB, "b": 40 * MIB, "c": 10 * MIB})
    async with mounted(store, tmp_path, 64 * MIB) as (tree, pages):
        warm_up = warming(tree, pages, [])
        await warm_up.run()
        report = warm_up.report()
        assert (report["files"], report["skipped_files"]) == (2, 1)
        assert report["skipped_bytes"] == 40 * MIB
        assert "b" not in store.asked
        assert pages.statistics()["cache_evicted_blocks"] == 0


async def test_a_disk_that_takes_nothing_ends_it(tmp_path: Path) -> None:
    store = Store()
    await fill(store, {f"f{number}": 100 for number in range(200)})
    async with mounted(store, tmp_path, 64 * MIB) as (tree, pages):
        assert pages.blocks is not None
        pages.blocks.folder.put = lambda *_: False  # type: ignore[method-assign]
        warm_up = warming(tree, pages, [])
        await warm_up.run()
        assert "takes nothing" in warm_up.report()["stopped"]
        assert len(store.asked) <= 8


async def test_a_listing_that_fails_is_named(tmp_path: Path) -> None:
    class Unlisted(Store):
        async def list_page(
            self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
        ) -> ListPage:
            raise StorageError("no listing", key=prefix, operation="list")

    store = Unlisted()
    async with mounted(store, tmp_path, 64 * MIB) as (tree, pages):
        warm_up = warming(tree, pages, [])
        await warm_up.run()
        assert [failure["path"] for failure in warm_up.failures()] == ["/"]
        assert "no listing" in warm_up.failures()[0]["reason"]
