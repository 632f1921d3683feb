"""Retries: what passes is repeated, nothing is done twice, nothing foreign is called our own."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from bucketfs.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    MemorySink,
    ObjectAttributes,
    ObjectInfo,
    Part,
    Precondition,
    Sink,
    Version,
)
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore
from bucketfs.storage.retry_proofs import is_our_commit, is_our_write
from bucketfs.storage.retrying import Retrying
from tests.unit.storage.failing import Failing

OURS = ObjectAttributes({"mtime": "1.5"})


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(capabilities=replace(DEFAULT_CAPABILITIES, min_part=1))


@pytest.fixture
def failing(memory: MemoryStore) -> Failing:
    return Failing(memory)


@pytest.fixture
def store(failing: Failing) -> Retrying:
    return Retrying(failing, attempts=4, timeout_s=30)


async def test_what_passes_is_repeated(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    failing.plan("write", times=3)
    await store.write("a", BytesBody(b"x"), OURS)
    failing.plan("stat", times=2)
    assert (await store.stat("a")).size == 1
    assert (failing.calls["write"], failing.calls["stat"]) == (4, 3)


async def test_patience_ends(autojump_clock: MockClock, store: Retrying, failing: Failing) -> None:
    failing.plan("stat", times=9)
    with pytest.raises(Transient):
        await store.stat("a")
    assert failing.calls["stat"] == 4


async def test_the_deadline_ends_it_too(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    failing.plan("stat", Transient("busy", retry_after_s=20), times=9)
    began_s = trio.current_time()
    with pytest.raises(Transient):
        await store.stat("a")
    assert failing.calls["stat"] == 2
    assert 20 <= trio.current_time() - began_s < 30


async def test_other_errors_are_not_repeated(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    failing.plan("stat", AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await store.stat("a")
    assert failing.calls["stat"] == 1


async def test_pauses_grow(autojump_clock: MockClock, store: Retrying, failing: Failing) -> None:
    failing.plan("stat", times=9)
    began_s = trio.current_time()
    with pytest.raises(Transient):
        await store.stat("a")
    assert 0.35 <= trio.current_time() - began_s <= 0.7


async def test_our_own_write_is_known_after_a_lost_answer(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    failing.plan("write", is_done=True)
    made = await store.write("a", BytesBody(b"ours"), OURS, ABSENT)
    assert made.version == (await store.stat("a")).version
    failing.plan("write", is_done=True)
    known = Precondition(made.version)
    again = await store.write("a", BytesBody(b"ours2"), OURS, known)
    assert again.size == 5


@pytest.mark.parametrize(
    ("data", "attributes"),
    [
        (b"foreign", OURS),
        (b"ours", ObjectAttributes({"mtime": "2"})),
        (b"ours", ObjectAttributes()),
    ],
)
async def test_a_foreign_write_is_not_taken_for_ours(
    autojump_clock: MockClock,
    store: Retrying,
    failing: Failing,
    memory: MemoryStore,
    data: bytes,
    attributes: ObjectAttributes,
) -> None:
    await memory.write("a", BytesBody(data), attributes)
    failing.plan("write")
    with pytest.raises(ObjectExists):
        await store.write("a", BytesBody(b"ours"), OURS, ABSENT)


async def test_a_refusal_without_a_lost_answer_is_believed(
    autojump_clock: MockClock, store: Retrying, failing: Failing, memory: MemoryStore
) -> None:
    await memory.write("a", BytesBody(b"ours"), OURS)
    failing.plan("write", Transient("never left", sent=False))
    with pytest.raises(ObjectExists):
        await store.write("a", BytesBody(b"ours"), OURS, ABSENT)
    assert failing.calls["stat"] == 0


async def test_an_append_is_done_once(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    await store.append("a", 0, BytesBody(b"one"))
    failing.plan("append", is_done=True)
    assert (await store.append("a", 3, BytesBody(b"two"))).size == 6
    with pytest.raises(ObjectChanged):
        await store.append("a", 3, BytesBody(b"two"))


async def test_an_append_of_others_at_the_same_place_is_not_ours(
    autojump_clock: MockClock, store: Retrying, failing: Failing, memory: MemoryStore
) -> None:
    await store.append("a", 0, BytesBody(b"one"))
    await memory.append("a", 3, BytesBody(b"TWO"))
    failing.plan("append")
    with pytest.raises(ObjectChanged):
        await store.append("a", 3, BytesBody(b"two"))


async def test_a_commit_is_done_once(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    upload = await store.begin_upload("a", OURS)
    failing.plan("add_part", times=2)
    part = await upload.add_part(1, BytesBody(b"bytes"))
    failing.plan("commit", is_done=True)
    assert (await upload.commit([part], ABSENT)).size == 5
    assert failing.calls["commit"] == 1


async def test_an_upload_that_is_gone_is_not_a_commit(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    upload = await store.begin_upload("a", OURS)
    part = await upload.add_part(1, BytesBody(b"bytes"))
    await upload.abort()
    failing.plan("commit")
    with pytest.raises(ObjectNotFound):
        await upload.commit([part])


async def test_a_copy_and_a_move_are_done_once(
    autojump_clock: MockClock, store: Retrying, failing: Failing
) -> None:
    await store.write("a", BytesBody(b"x"), OURS)
    failing.plan("copy", is_done=True)
    assert (await store.copy("a", "b", precondition=ABSENT)).key == "b"
    failing.plan("move", is_done=True)
    assert (await store.move("b", "c")).key == "c"
    with pytest.raises(ObjectNotFound):
        await store.move("b", "c")


class Breaking(Failing):
    """Gives a few bytes of each read, then breaks."""

    async def read_range(
        self, key: str, start: int, length: int, sink: Sink, if_version: Version | None = None
    ) -> ObjectInfo:
        """Read 3 bytes at most."""
        self.calls["read_range"] += 1
        left = length - sink.received
        info = await self.inner.read_range(
            key, start, sink.received + min(3, left), sink, if_version
        )
        if left > 3:
            raise Transient("short")
        return info


async def test_a_read_of_a_version_goes_on_where_it_broke(
    autojump_clock: MockClock, memory: MemoryStore
) -> None:
    info = await memory.write("a", BytesBody(bytes(range(30))), OURS)
    breaking = Breaking(memory)
    buffer = bytearray(30)
    await Retrying(breaking, attempts=2).read_range("a", 0, 30, MemorySink(buffer), info.version)
    assert bytes(buffer) == bytes(range(30))
    assert breaking.calls["read_range"] == 10


async def test_a_read_without_a_version_begins_anew(
    autojump_clock: MockClock, memory: MemoryStore
) -> None:
    await memory.write("a", BytesBody(bytes(range(30))), OURS)
    sink = MemorySink(bytearray(30))
    with pytest.raises(Transient):
        await Retrying(Breaking(memory), attempts=2).read_range("a", 0, 30, sink)
    assert sink.received == 3


async def test_deletes_of_many_repeat_only_what_failed(
    autojump_clock: MockClock, store: Retrying, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def delete_many(keys: list[str]) -> dict[str, Exception]:
        await trio.lowlevel.checkpoint()
        asked.append(list(keys))
        errors: dict[str, Exception] = {"b": AccessDenied("no"), "c": Transient("busy")}
        return {key: errors[key] for key in keys if key in errors and len(asked) < 3}

    monkeypatch.setattr(memory, "delete_many", delete_many)
    errors = await store.delete_many(["a", "b", "c"])
    assert asked == [["a", "b", "c"], ["c"], ["c"]]
    assert list(errors) == ["b"]


async def test_an_etag_that_is_an_md5_is_compared(autojump_clock: MockClock) -> None:
    def found(data: bytes) -> ObjectInfo:
        version = Version(hashlib.md5(data).hexdigest())
        return ObjectInfo("a", len(data), version, 0, {"mtime": "1.5"})

    assert await is_our_write(found(b"ours"), BytesBody(b"ours"), OURS)
    assert not await is_our_write(found(b"them"), BytesBody(b"ours"), OURS)


def test_the_etag_of_parts_is_compared() -> None:
    # The rule is S3's: MD5 of the joined MD5s, a dash, the number of parts.
    digests = [hashlib.md5(data) for data in (b"one", b"two")]
    parts = [Part(n, digest.hexdigest(), 3) for n, digest in enumerate(digests, 1)]
    joined = hashlib.md5(b"".join(digest.digest() for digest in digests)).hexdigest()
    ours = ObjectInfo("a", 6, Version(f"{joined}-2"), 0, {"mtime": "1.5"})
    assert is_our_commit(ours, parts, OURS)
    assert not is_our_commit(replace(ours, version=Version(f"{joined}-3")), parts, OURS)
    assert not is_our_commit(replace(ours, size=7), parts, OURS)
