"""What every ObjectStore does with multipart uploads."""

from __future__ import annotations

import os
import time

import pytest
import trio

from bucketfs.errors import NotSupported, ObjectChanged, ObjectExists, ObjectNotFound, StorageError
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    ObjectStore,
    Part,
    Precondition,
    UploadLister,
)
from tests.contract.asking import LABELLED, MIB, PLAIN, get, put, walk


def part_bytes(store: ObjectStore, number: int) -> bytes:
    """Return the smallest part that may be followed by another, different for each number."""
    return bytes([48 + number]) * max(store.capabilities.min_part, 10)


async def test_parts_make_an_object(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", LABELLED)
    bodies = [part_bytes(store, 1), part_bytes(store, 2), b"end"]
    parts: dict[int, Part] = {}

    async def send(number: int) -> None:
        parts[number] = await upload.add_part(number, BytesBody(bodies[number - 1]))

    async with trio.open_nursery() as nursery:
        for number in (3, 1, 2):
            nursery.start_soon(send, number)
    assert await walk(store, root) == ([], [])
    made = await upload.commit([parts[1], parts[2], parts[3]])
    found = await store.stat(f"{root}a")
    assert made.size == found.size == sum(map(len, bodies))
    assert made.version == found.version
    assert dict(found.metadata or {}) == LABELLED.metadata
    assert found.content_type == LABELLED.content_type
    assert await get(store, f"{root}a") == b"".join(bodies)


async def test_one_part_may_be_small(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    await upload.commit([await upload.add_part(1, BytesBody(b"x"))])
    assert await get(store, f"{root}a") == b"x"


async def test_numbers_may_have_gaps_and_parts_be_sent_again(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    last = await upload.add_part(7, BytesBody(b"end"))
    await upload.add_part(2, BytesBody(part_bytes(store, 5)))
    first = await upload.add_part(2, BytesBody(part_bytes(store, 1)))
    await upload.commit([first, last])
    assert await get(store, f"{root}a") == part_bytes(store, 1) + b"end"


async def test_parts_are_listed(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    second = await upload.add_part(2, BytesBody(b"end"))
    first = await upload.add_part(1, BytesBody(part_bytes(store, 1)))
    assert list(await upload.list_parts()) == [first, second]
    await upload.abort()


async def test_another_process_goes_on_with_an_upload(store: ObjectStore, root: str) -> None:
    begun = await store.begin_upload(f"{root}a", LABELLED)
    first = await begun.add_part(1, BytesBody(part_bytes(store, 1)))
    if not store.capabilities.part_upload:
        with pytest.raises(NotSupported):
            await store.resume_upload(f"{root}a", begun.upload_id, LABELLED)
        return
    upload = await store.resume_upload(f"{root}a", begun.upload_id, LABELLED)
    assert upload.upload_id == begun.upload_id
    assert list(await upload.list_parts()) == [first]
    last = await upload.add_part(2, BytesBody(b"end"))
    info = await upload.commit([first, last], ABSENT)
    assert await get(store, f"{root}a") == part_bytes(store, 1) + b"end"
    found = await store.stat(f"{root}a")
    assert (info.version, info.size) == (found.version, found.size)
    assert dict(found.metadata or {}) == LABELLED.metadata
    assert found.content_type == LABELLED.content_type


async def test_an_upload_that_is_gone_cannot_go_on(store: ObjectStore, root: str) -> None:
    if not store.capabilities.part_upload:
        pytest.skip("uploads end with their process")
    begun = await store.begin_upload(f"{root}a", PLAIN)
    await begun.abort()
    upload = await store.resume_upload(f"{root}a", begun.upload_id, PLAIN)
    with pytest.raises(ObjectNotFound):
        await upload.list_parts()
    await upload.abort()


async def test_pending_uploads_are_listed(store: ObjectStore, root: str) -> None:
    if not isinstance(store, UploadLister):
        pytest.skip("this store does not list uploads")
    try:
        assert list(await store.list_uploads(root)) == []
    except NotSupported:
        pytest.skip("this store does not list uploads")
    names = [f"{root}a+b c%20", f"{root}below/\u00e9", f"{root}\u4e2d"]
    uploads = {key: await store.begin_upload(key, PLAIN) for key in names}
    other = await store.begin_upload(f"{root}committed", PLAIN)
    await other.commit([await other.add_part(1, BytesBody(b"x"))])
    found = {pending.key: pending for pending in await store.list_uploads(root)}
    assert {key: pending.upload_id for key, pending in found.items()} == {
        key: upload.upload_id for key, upload in uploads.items()
    }
    ages_s = [time.time() - pending.begun_ns / 1e9 for pending in found.values()]
    assert all(-60 < age_s < 600 for age_s in ages_s)
    assert [pending.key for pending in await store.list_uploads(f"{root}below/")] == [names[1]]
    for upload in uploads.values():
        await upload.abort()
    assert list(await store.list_uploads(root)) == []


async def test_parts_are_copied(store: ObjectStore, root: str) -> None:
    if not store.capabilities.part_copy:
        pytest.skip("this store cannot copy parts")
    source = await put(store, f"{root}source", os.urandom(MIB) * 6)
    data = await get(store, f"{root}source")
    upload = await store.begin_upload(f"{root}a", PLAIN)
    size = max(store.capabilities.min_part, 10)
    first = await upload.copy_part(1, f"{root}source", 100, size, source.version)
    assert first.size == size
    second = await upload.add_part(2, BytesBody(part_bytes(store, 2)))
    third = await upload.copy_part(3, f"{root}source", 7, 5, source.version)
    await upload.commit([first, second, third])
    assert await get(store, f"{root}a") == (
        data[100 : 100 + size] + part_bytes(store, 2) + data[7:12]
    )


async def test_parts_of_another_version_are_refused(store: ObjectStore, root: str) -> None:
    if not store.capabilities.part_copy:
        pytest.skip("this store cannot copy parts")
    old = await put(store, f"{root}source", b"old bytes of it")
    await put(store, f"{root}source", b"new bytes of it")
    upload = await store.begin_upload(f"{root}a", PLAIN)
    with pytest.raises(ObjectChanged):
        await upload.copy_part(1, f"{root}source", 0, 5, old.version)
    await upload.abort()


async def test_abort_leaves_nothing(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"x"))
    await upload.abort()
    await upload.abort()
    assert await walk(store, root) == ([], [])
    # Which error it is differs: some servers call it their own mistake (500).
    with pytest.raises(StorageError):
        await upload.commit([part])
    assert await walk(store, root) == ([], [])


async def test_a_wrong_order_makes_no_wrong_object(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    first = await upload.add_part(1, BytesBody(part_bytes(store, 1)))
    second = await upload.add_part(2, BytesBody(part_bytes(store, 1)[:-1] + b"2"))
    try:
        await upload.commit([second, first])
    except StorageError:
        assert await walk(store, root) == ([], [])
        await upload.abort()
    else:
        assert (await get(store, f"{root}a")).endswith(b"2")


async def test_an_unknown_part_is_refused(store: ObjectStore, root: str) -> None:
    upload = await store.begin_upload(f"{root}a", PLAIN)
    await upload.add_part(1, BytesBody(b"x"))
    with pytest.raises(StorageError):
        await upload.commit([Part(2, "0123456789abcdef0123456789abcdef", 1)])
    assert await walk(store, root) == ([], [])
    await upload.abort()


async def test_a_commit_replaces_and_leaves_no_upload(store: ObjectStore, root: str) -> None:
    await put(store, f"{root}a", b"old", LABELLED)
    upload = await store.begin_upload(f"{root}a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"new"))
    assert await get(store, f"{root}a") == b"old"
    await upload.commit([part])
    assert await get(store, f"{root}a") == b"new"
    assert dict((await store.stat(f"{root}a")).metadata or {}) == {}


async def test_a_commit_keeps_its_condition(store: ObjectStore, root: str) -> None:
    old = await put(store, f"{root}a", b"old")
    upload = await store.begin_upload(f"{root}a", PLAIN)
    part = await upload.add_part(1, BytesBody(b"new"))
    with pytest.raises(ObjectExists):
        await upload.commit([part], ABSENT)
    with pytest.raises(ObjectChanged):
        await upload.commit([part], Precondition(old.version[:-1] + "~"))  # type: ignore[arg-type]
    assert await get(store, f"{root}a") == b"old"
    await upload.commit([part], Precondition(old.version))
    assert await get(store, f"{root}a") == b"new"
