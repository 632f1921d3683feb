"""The probe: what it says of a store, and what it leaves behind when things go wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import pytest
import trio

from bucketfs.errors import AccessDenied, ConfusedServer, Transient
from bucketfs.storage.interface import (
    BytesBody,
    Capabilities,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
)
from bucketfs.storage.memory import MemoryStore
from bucketfs.storage.probing import Findings, abilities, probe
from tests.unit.storage.failing import Failing

T = TypeVar("T")


def verdicts(findings: Findings) -> dict[str, str]:
    return {right.name: right.verdict for right in findings.rights}


async def keys(store: ObjectStore) -> list[str]:
    return [info.key for info in (await store.list_page("")).objects]


def refusing(*operations: str) -> Failing:
    store = Failing(MemoryStore("b"))
    for operation in operations:
        store.plan(operation, AccessDenied("no such right (403)"))
    return store


@pytest.mark.parametrize(
    ("capabilities", "name", "native", "words"),
    [
        (Capabilities(move=True), "move", "yes", "one request a file"),
        (Capabilities(), "move", "no", "two requests a file"),
        (Capabilities(part_copy=True), "part copy", "yes", "the rest is copied"),
        (Capabilities(), "part copy", "no", "sent whole"),
        (Capabilities(conditional_write=True), "conditional write", "yes", "itself refuses"),
        (Capabilities(), "conditional write", "no", "a look before the save"),
        (Capabilities(batch_delete=1000), "batch delete", "1000 keys", "1000 deletes a request"),
        (Capabilities(), "batch delete", "no", "one request a key"),
        (Capabilities(checksum="crc64"), "checksum", "crc64", "compared"),
        (Capabilities(symlink=True), "symlink", "yes", "native links are shown"),
        (Capabilities(copy_replaces_metadata=False), "metadata by copy", "no", "again"),
        (Capabilities(max_object=48_828 << 30), "largest object", "47.68 TiB", "EFBIG"),
        (Capabilities(), "parts", "5 MiB to 5 GiB, up to 10000", "part_size="),
        (Capabilities(ranged_read=False), "ranged read", "no", "fetches the file whole"),
        (Capabilities(part_upload=False), "part upload", "no", "kept on the local disk"),
        (Capabilities(server_copy=False), "copy", "no", "sends it again"),
        (Capabilities(server_copy=False), "move", "no", "fetches each file"),
        (Capabilities(server_copy=False), "metadata by copy", "no", "fetch the file"),
        (Capabilities(delimited_listing=False), "folder listing", "no", "at any depth"),
        (Capabilities(keeps_metadata=False), "metadata", "no", "forgotten"),
        (Capabilities(keeps_metadata=False), "symlink", "no", "ENOTSUP"),
        (Capabilities(max_object=1 << 60), "largest object", "unlimited", "EFBIG"),
        (Capabilities(max_key=750), "longest key", "750 bytes", "ENAMETOOLONG"),
    ],
)
def test_what_a_capability_means(
    capabilities: Capabilities, name: str, native: str, words: str
) -> None:
    ability = next(ability for ability in abilities(capabilities) if ability.name == name)
    assert ability.native == native
    assert words in ability.mount


def test_every_capability_is_told() -> None:
    """A new field of `Capabilities` changes what the probe says, or this test fails."""
    plain = Capabilities(append=True)
    changes: dict[str, Any] = {name: not value for name, value in fields_of(plain, bool).items()}
    changes |= {name: value // 2 + 7 for name, value in fields_of(plain, int).items()}
    changes["checksum"] = "md5"
    for name, value in changes.items():
        assert abilities(replace(plain, **{name: value})) != abilities(plain), name


def fields_of(capabilities: Capabilities, kind: type[T]) -> dict[str, T]:
    values = {name: getattr(capabilities, name) for name in Capabilities.__slots__}
    return {name: value for name, value in values.items() if type(value) is kind}


async def test_all_rights() -> None:
    store = MemoryStore("b")
    findings = await probe(store)
    assert verdicts(findings) == dict.fromkeys(["list", "write", "read", "delete"], "yes")
    assert findings.skew_s == 0.0
    assert await keys(store) == []


async def test_a_read_only_key_reads_what_is_there() -> None:
    store = refusing("write")
    await store.inner.write("a", BytesBody(b"x"), ObjectAttributes())
    findings = await probe(store)
    assert verdicts(findings) == {"list": "yes", "write": "no", "read": "yes", "delete": "unknown"}
    assert [right.name for right in findings.missing()] == ["write"]
    assert findings.missing(is_read_only=True) == []
    assert findings.skew_s is None
    assert await keys(store) == ["a"]


async def test_an_empty_bucket_cannot_show_whether_it_may_be_read() -> None:
    findings = await probe(refusing("write"))
    assert verdicts(findings)["read"] == "unknown"


async def test_no_right_to_read() -> None:
    findings = await probe(refusing("read_range"))
    assert [right.name for right in findings.missing(is_read_only=True)] == ["read"]


async def test_no_right_to_list() -> None:
    findings = await probe(refusing("list_page"))
    assert verdicts(findings) == {"list": "no", "write": "yes", "read": "yes", "delete": "yes"}
    assert "no such right" in findings.missing()[0].detail


async def test_no_right_to_delete_leaves_what_it_names() -> None:
    store = refusing("delete")
    findings = await probe(store)
    assert [right.name for right in findings.missing()] == ["delete"]
    assert await keys(store) == [findings.left_key]


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_write_that_broke_is_cleaned_up(is_done: bool) -> None:
    store = Failing(MemoryStore("b"))
    store.plan("write", Transient("reset"), is_done=is_done)
    with pytest.raises(Transient):
        await probe(store)
    assert await keys(store) == []
    assert store.calls["delete"] == 1


async def test_a_cancelled_probe_cleans_up() -> None:
    store = MemoryStore("b")

    class Slow(Failing):
        async def read_range(self, *arguments: object, **options: object) -> ObjectInfo:
            scope.cancel()
            await trio.sleep_forever()
            raise AssertionError

    with trio.CancelScope() as scope:
        await probe(Slow(store))
    assert scope.cancelled_caught
    assert await keys(store) == []


class Lying(Failing):
    """Does not do what it says it did."""

    async def delete(self, key: str, if_version: object = None) -> None:
        """Delete nothing."""


async def test_a_delete_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfusedServer, match="still there"):
        await probe(Lying(MemoryStore("b")))


class Wrong(Failing):
    """Keeps other bytes, other metadata or another time than it was given."""

    def __init__(self, inner: ObjectStore, fault: str) -> None:
        super().__init__(inner)
        self._fault = fault

    async def write(self, key, body, attributes, precondition=None):  # type: ignore[no-untyped-def]
        """Store something else."""
        if self._fault == "bytes":
            body = BytesBody(b"x" * body.size)
        if self._fault == "metadata":
            attributes = ObjectAttributes()
        info = await super().write(key, body, attributes, precondition)
        if self._fault == "clock":
            info = replace(info, modified_ns=info.modified_ns + 1200 * 10**9)
        return info


class Plain(MemoryStore):
    """Keeps bytes only, and says so."""

    @property
    def capabilities(self) -> Capabilities:
        """What a memory has, without metadata."""
        return replace(super().capabilities, keeps_metadata=False)


async def test_metadata_that_a_store_does_not_keep_are_not_missed() -> None:
    findings = await probe(Wrong(Plain("b"), "metadata"))
    assert findings.missing() == []
    assert any(found.name == "metadata" and found.native == "no" for found in findings.abilities)


@pytest.mark.parametrize("fault", ["bytes", "metadata"])
async def test_what_does_not_come_back_is_an_error(fault: str) -> None:
    store = MemoryStore("b")
    with pytest.raises(ConfusedServer, match=fault):
        await probe(Wrong(store, fault))
    assert await keys(store) == []


async def test_a_wrong_clock_is_seen() -> None:
    findings = await probe(Wrong(MemoryStore("b"), "clock"))
    assert findings.skew_s is not None
    assert 1195 < findings.skew_s < 1205
