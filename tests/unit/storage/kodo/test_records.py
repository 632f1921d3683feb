"""Records of uploads that Qiniu's SDK began: what they say, and going on with them."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from qiniu import put_file_v2
from qiniu.services.storage.upload_progress_recorder import UploadProgressRecorder
from qiniu.services.storage.uploaders.abc import resume_uploader_base

from bucketfs.errors import ConfigurationError, NotSupported, ObjectNotFound
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.kodo.opening import open_kodo
from bucketfs.storage.kodo.records import UploadRecord, parse_record, record_name
from bucketfs.storage.kodo.store import KodoStore
from bucketfs.storage.location import StoreOptions, parse_url
from tests.contract.asking import get
from tests.emulators.kodo.sdk import Sdk
from tests.emulators.serving import RunningEmulator

MIB = 1 << 20
DATA = bytes(range(256)) * (9 * MIB // 256)


class Interrupted(Exception):
    """Stands for a process that ended in the middle of an upload."""


@pytest.fixture
def sdk(kodo: RunningEmulator) -> Sdk:
    """The SDK with a bucket of its own."""
    return Sdk(kodo, kodo.make_bucket())


@pytest.fixture
async def store(sdk: Sdk) -> AsyncIterator[KodoStore]:
    """That bucket."""
    options = StoreOptions(
        endpoint=sdk.server.endpoint, environment=sdk.server.environment, timeout_s=10
    )
    opened = await open_kodo(parse_url(f"kodo://{sdk.bucket}"), options)
    yield opened
    await opened.aclose()


Interrupt = Callable[[str], UploadRecord]


@pytest.fixture
def interrupted(sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Return what lets the SDK upload a file, stops it after its first part, and reads its record.

    The SDK's threads go on when it stops: they are waited for.
    """
    pools: list[futures.ThreadPoolExecutor] = []

    def make(max_workers: int) -> futures.ThreadPoolExecutor:
        pools.append(futures.ThreadPoolExecutor(max_workers=max_workers))
        return pools[-1]

    monkeypatch.setattr(resume_uploader_base, "futures", SimpleNamespace(ThreadPoolExecutor=make))

    def interrupt(version: str) -> UploadRecord:
        record = upload_a_part(sdk, tmp_path, version)
        assert pools
        for pool in pools:
            pool.shutdown()
        return record

    return interrupt


def upload_a_part(sdk: Sdk, folder: Path, version: str) -> UploadRecord:
    """Let the SDK upload a file, stop it after its first part, and read its record."""
    path, records = folder / "big.bin", folder / "records"
    path.write_bytes(DATA)
    records.mkdir()

    def stop(sent: int, total: int) -> None:
        raise Interrupted

    more: dict[str, Any] = {"bucket_name": sdk.bucket, "regions": sdk.regions}
    with pytest.raises(Interrupted):
        put_file_v2(
            sdk.token("dir/key"),
            "dir/key",
            str(path),
            version=version,
            progress_handler=stop,
            upload_progress_recorder=UploadProgressRecorder(record_folder=str(records)),
            **more,
        )
    return parse_record((records / record_name("dir/key", "big.bin")).read_bytes())


async def test_an_upload_of_the_sdk_is_listed_and_gone_on_with(
    store: KodoStore, interrupted: Interrupt, tmp_path: Path
) -> None:
    record = interrupted("v2")
    assert (record.protocol, record.part_size) == ("v2", 4 * MIB)
    assert record.source_modified_s == int((tmp_path / "big.bin").stat().st_mtime)
    assert list(record.parts) == record.lasting(time.time())
    assert record.lasting(time.time() + 8 * 86400) == []
    upload = store.resume_recorded("dir/key", ObjectAttributes(), record)
    parts = {part.number: part for part in await upload.list_parts()}
    assert {part.number: part.tag for part in record.parts}.items() <= {
        number: part.tag for number, part in parts.items()
    }.items()
    assert all(part.size == record.part_size for part in parts.values() if part.number < 3)
    for number in {1, 2, 3} - set(parts):
        body = BytesBody(DATA[(number - 1) * 4 * MIB : number * 4 * MIB])
        parts[number] = await upload.add_part(number, body)
    await upload.commit([parts[number] for number in (1, 2, 3)])
    assert await get(store, "dir/key") == DATA


async def test_an_upload_of_the_sdk_is_dropped(store: KodoStore, interrupted: Interrupt) -> None:
    upload = store.resume_recorded("dir/key", ObjectAttributes(), interrupted("v2"))
    await upload.abort()
    with pytest.raises(ObjectNotFound):
        await upload.list_parts()


async def test_blocks_of_v1_are_told(store: KodoStore, interrupted: Interrupt) -> None:
    record = interrupted("v1")
    assert (record.protocol, record.upload_id, record.part_size) == ("v1", None, 4 * MIB)
    assert record.parts
    assert list(record.parts) == record.lasting(time.time())
    with pytest.raises(NotSupported, match="v1"):
        store.resume_recorded("dir/key", ObjectAttributes(), record)


@pytest.mark.parametrize(
    ("contexts", "numbers"),
    [
        (["c1", "c2"], [1, 2]),
        ([{"ctx": "c1", "expired_at": 9}, {"ctx": "c2", "expired_at": 5}], [1]),
        (
            [
                {"ctx": "c2", "expired_at": 9, "part_no": 2},
                {"ctx": "c1", "expired_at": 9, "part_no": 1},
            ],
            [1, 2],
        ),
    ],
)
def test_blocks_of_all_ages(contexts: object, numbers: list[int]) -> None:
    record = parse_record(json.dumps({"offset": 5, "contexts": contexts}).encode())
    assert [part.tag for part in record.parts] == ["c1", "c2"]
    now_s = -1 if isinstance(contexts, list) and contexts[0] == "c1" else 6
    assert [part.number for part in record.lasting(now_s)] == numbers


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"\xff", b'{"contexts": 3}', b'{"contexts": [{}]}', b'{"upload_id": "u"}'],
)
def test_what_is_no_record(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="no record"):
        parse_record(text)
