"""Key names from hell: each is stored under exactly itself, or refused as a name; nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bucketfs.errors import InvalidKey
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.location import StoreOptions, parse_url
from bucketfs.storage.opening import opener_of
from tests.contract.asking import get, put, walk
from tests.emulators.serving import RunningEmulator
from tests.servers.s3_server import RunningS3

HELL = {
    "empty": "",
    "slash": "/",
    "slashes": "//",
    "leading": "/lead",
    "doubled": "a//b",
    "dot": ".",
    "dots": "..",
    "up": "../x",
    "up-within": "a/../b",
    "here-within": "a/./b",
    "version": "v1",
    "at": "a@b",
    "wildcards": "*?[a]{b}",
    "markup": "<&>\"']]>",
    "percent": "%2F%00%zz",
    "plus": "+ +",
    "query": "?delete&uploads=1#f;a=b",
    "backslash": "a\\b",
    "blanks": " a ",
    "colon": "a:b:c",
    "nul": "a\0b",
    "newline": "a\r\nb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "not-utf8": "a\udcffb",
    "not-a-character": "a\ufffeb",
    "right-to-left": "a\u202eb",
    "bom": "\ufeffa",
    "decomposed": "e\u0301",
    "emoji": "\U0001f600",
    "700": "x" * 240 + "/" + "y" * 240 + "/" + "z" * 218,
    "800": "x" * 200 + ("/" + "y" * 199) * 3,
    "1100": "x" * 199 + ("/" + "é" * 100) * 5,
}

BEYOND_MOTO = {"moto-newline", "moto-not-utf8"}


@pytest.fixture(params=["moto", "cos", "bos", "kodo"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """An empty bucket of each cloud; S3 is one whose keys are flat, as Amazon's are."""
    cloud: RunningEmulator | RunningS3 = request.getfixturevalue(request.param)
    scheme = "s3" if isinstance(cloud, RunningS3) else cloud.name
    options = StoreOptions(
        endpoint=cloud.endpoint, environment={**cloud.environment, "HOME": "/nonexistent"}
    )
    opened = await opener_of(scheme)(parse_url(f"{scheme}://{cloud.make_bucket()}"), options)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("key", HELL.values(), ids=HELL)
async def test_a_key_is_itself_or_refused(
    store: ObjectStore, key: str, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.id in BEYOND_MOTO:
        pytest.skip("moto's web server has no such paths; radosgw's contract tests have")
    try:
        await put(store, key, b"bytes")
    except InvalidKey:
        assert await walk(store, "") == ([], [])
        return
    assert await walk(store, "") == ([key], [])
    assert await get(store, key) == b"bytes"
    assert (await store.stat(key)).key == key
    assert await store.delete_many([key]) == {}
    assert await walk(store, "") == ([], [])
