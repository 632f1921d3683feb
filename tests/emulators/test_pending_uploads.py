"""More pending uploads than one answer tells: all are listed, each once."""

from __future__ import annotations

import pytest
import trio

from bucketfs.storage.interface import ObjectAttributes, UploadLister
from bucketfs.storage.location import StoreOptions, parse_url
from bucketfs.storage.opening import opener_of
from tests.emulators.serving import RunningEmulator

WIDTH = 16


@pytest.mark.parametrize("name", ["cos", "bos"])
async def test_more_than_one_page(name: str, request: pytest.FixtureRequest) -> None:
    cloud: RunningEmulator = request.getfixturevalue(name)
    cloud.knobs.reset()
    options = StoreOptions(endpoint=cloud.endpoint, environment=cloud.environment)
    store = await opener_of(name)(parse_url(f"{name}://{cloud.make_bucket()}"), options)
    keys = [f"d/{number:04}" for number in range(1001)]
    # At COS the first page ends between the two of one key; BOS names keys only when it goes on.
    left = iter([*keys, keys[999 if name == "cos" else 0]])
    begun: list[tuple[str, str]] = []

    async def begin() -> None:
        for key in left:
            upload = await store.begin_upload(key, ObjectAttributes())
            begun.append((key, upload.upload_id))

    async with trio.open_nursery() as nursery:
        for _ in range(WIDTH):
            nursery.start_soon(begin)
    assert isinstance(store, UploadLister)
    cloud.knobs.seen.clear()
    found = await store.list_uploads("d/")
    assert sorted((upload.key, upload.upload_id) for upload in found) == sorted(begun)
    assert len(cloud.knobs.seen) == 2
    await store.aclose()
