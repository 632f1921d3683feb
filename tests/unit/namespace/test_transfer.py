"""Moving trees of objects: what others do meanwhile, what arrives unheard, what is given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
import trio.testing

from bucketfs.errors import NameTooLong, StorageError, Transient
from bucketfs.namespace.transfer import BELIEVED_S, TreeTransfer, _leaves_first
from bucketfs.storage.interface import BytesBody, ListPage, ObjectAttributes, ObjectInfo
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore

from .trees import NO_MOVE, NotingStore


class CountingStore(NotingStore):
    """Counts listings as well."""

    lists = 0

    async def list_page(
        self, prefix: str, delimiter: str = "", marker: str | None = None, limit: int = 1000
    ) -> ListPage:
        self.lists += 1
        return await super().list_page(prefix, delimiter, marker, limit)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(NO_MOVE)


async def put(store: MemoryStore, key: str, data: bytes = b"x") -> ObjectInfo:
    return await MemoryStore.write(store, key, BytesBody(data), ObjectAttributes())


async def keys_of(store: MemoryStore) -> list[str]:
    return [info.key for info in (await MemoryStore.list_page(store, "")).objects]


def transfer_of(store: MemoryStore, new_prefix: str = "x/") -> TreeTransfer:
    return TreeTransfer(store, "d/", new_prefix, concurrency=4)


async def moved(transfer: TreeTransfer) -> None:
    await transfer.check_keys(())
    await transfer.copy_all()
    await transfer.delete_old()


@pytest.mark.parametrize(("new_prefix", "extra"), [("x/", 0), ("longer/", 2)])
async def test_a_tree_is_listed_once_unless_its_keys_grow(
    store: CountingStore, new_prefix: str, extra: int
) -> None:
    for number in range(1200):
        await put(store, f"d/{number:04}")
    await moved(transfer_of(store, new_prefix))
    assert store.lists == 2 + extra
    assert await store.list_page("d/") == ListPage([], [], None)
    assert len((await store.list_page(new_prefix, limit=5000)).objects) == 1200


async def test_one_page_is_not_listed_again_where_keys_grow(store: CountingStore) -> None:
    await put(store, "d/f")
    await moved(transfer_of(store, "longer/"))
    assert store.lists == 1
    assert await keys_of(store) == ["longer/f"]


async def test_too_long_a_key_is_found_on_every_page() -> None:
    store = CountingStore(replace(NO_MOVE, max_key=20))
    for number in range(1001):
        await put(store, f"d/{number:04}")
    await put(store, "d/z" + "z" * 15)
    with pytest.raises(NameTooLong):
        await transfer_of(store, "longer/").check_keys(())
    await transfer_of(store).check_keys(())
    with pytest.raises(NameTooLong):
        await transfer_of(store).check_keys(["d/" + "u" * 19])


@pytest.mark.allows_warnings
async def test_what_others_write_below_the_old_name_meanwhile_stays(
    store: CountingStore, mock_clock: trio.testing.MockClock
) -> None:
    for name in "abc":
        await put(store, f"d/{name}")
    await put(store, "d/", b"")
    transfer = transfer_of(store)
    await transfer.copy_all()
    await put(store, "d/b", b"replaced")
    await put(store, "d/new")
    mock_clock.jump(BELIEVED_S)
    await transfer.delete_old()
    assert await keys_of(store) == ["d/b", "d/new", "x/a", "x/b", "x/c"]


async def test_a_copy_that_arrived_unheard_is_taken_back(store: CountingStore) -> None:
    await put(store, "d/a", b"bytes")
    copy = store.copy

    async def unheard(*arguments: str, **named: object) -> ObjectInfo:
        await copy(*arguments, **named)  # type: ignore[arg-type]
        raise Transient("the answer is lost")

    store.copy = unheard  # type: ignore[method-assign]
    transfer = transfer_of(store)
    with pytest.raises(Transient):
        await transfer.copy_all()
    assert await keys_of(store) == ["d/a", "x/a"]
    assert await transfer.undo()
    assert await keys_of(store) == ["d/a"]


async def test_what_is_at_the_new_key_but_is_no_copy_is_not_taken_back(
    store: CountingStore,
) -> None:
    await put(store, "d/a", b"bytes")
    await put(store, "x/a", b"other")

    async def failed(*_: str, **__: object) -> ObjectInfo:
        raise Transient("no")

    store.copy = failed  # type: ignore[method-assign]
    transfer = transfer_of(store)
    with pytest.raises(Transient):
        await transfer.copy_all()
    assert await transfer.undo()
    assert await keys_of(store) == ["d/a", "x/a"]


@pytest.mark.parametrize("is_native", [False, True])
async def test_a_move_that_failed_half_way_is_undone(is_native: bool) -> None:
    store = NotingStore(DEFAULT_CAPABILITIES if is_native else NO_MOVE)
    for number in range(20):
        await put(store, f"d/{number}")
    before = await keys_of(store)

    def refuse(operation: str, key: str) -> None:
        if key == "x/7":
            raise Transient("no")

    store.before = refuse
    transfer = transfer_of(store)
    with pytest.raises(Transient):
        await transfer.copy_all()
    assert await transfer.undo()
    assert await keys_of(store) == before


@pytest.mark.allows_warnings
async def test_an_undo_that_fails_says_so(store: CountingStore) -> None:
    await put(store, "d/a")
    transfer = transfer_of(store)
    await transfer.copy_all()

    async def refused(keys: Iterable[str]) -> Mapping[str, Exception]:
        return {key: StorageError("no") for key in keys}

    store.delete_many = refused  # type: ignore[method-assign]
    assert not await transfer.undo()
    with pytest.raises(StorageError):
        await transfer.delete_old()


def test_what_is_below_a_marker_is_deleted_before_it() -> None:
    assert _leaves_first(["d/", "d/a", "d/b/", "d/b/c"]) == ["d/b/c", "d/b/", "d/a", "d/"]
