"""BosStore against the emulated cloud: what other stores do not have, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from werkzeug.wrappers import Response

from bucketfs.errors import (
    AccessDenied,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.bos.links import Symlink
from bucketfs.storage.bos.refusals import NotALink
from bucketfs.storage.bos.store import BosStore
from bucketfs.storage.interface import (
    ABSENT,
    BytesBody,
    MemorySink,
    ObjectAttributes,
    Precondition,
    Version,
)
from bucketfs.storage.retrying import Retrying
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource, FixedCredentials
from tests.contract.asking import LABELLED, get, put, walk
from tests.emulators.bos.answers import Refusal
from tests.emulators.bos.asking import Limits
from tests.emulators.bos.cloud import ACCESS_KEY, SECRET_KEY, BosCloud
from tests.emulators.plugin import running
from tests.emulators.serving import Ask, RunningEmulator

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[RunningEmulator]:
    """A cloud of this module's own, whose knobs it may turn."""
    with running("bos") as started:
        yield started


@pytest.fixture
def cloud(server: RunningEmulator) -> Iterator[BosCloud]:
    """The cloud; afterwards it is as it was."""
    found: BosCloud = server.emulator
    yield found
    found.knobs.reset()
    found.limits = Limits()
    found.tokens.clear()


def opened(
    server: RunningEmulator,
    bucket: str,
    token: str | None = None,
    credentials: CredentialSource | None = None,
    **more: Any,
) -> BosStore:
    known = FixedCredentials(Credentials(ACCESS_KEY, SECRET_KEY, token))
    return BosStore(
        bucket,
        client=HttpClient(concurrency=8, timeout_s=10, is_environment_trusted=False),
        credentials=credentials or known,
        endpoint=server.endpoint,
        **more,
    )


@pytest.fixture
async def store(server: RunningEmulator, cloud: BosCloud) -> AsyncIterator[BosStore]:
    """A store over a fresh bucket."""
    found = opened(server, cloud.make_bucket())
    yield found
    await found.aclose()


def asked(cloud: BosCloud) -> list[str]:
    """Return the requests since the last call, as words."""
    words = [
        f"{ask.method} {ask.target.partition('/')[2].partition('/')[2]}" for ask in cloud.knobs.seen
    ]
    cloud.knobs.seen.clear()
    return words


def kept(cloud: BosCloud, store: BosStore, key: str) -> Any:
    """Return what the cloud keeps under `key`, None for nothing."""
    bucket = cloud.buckets.get(store._bucket)
    assert bucket is not None
    return bucket.get(key)


async def test_an_append_always_names_its_place(cloud: BosCloud, store: BosStore) -> None:
    await store.append("a", 0, BytesBody(b"one"))
    await store.append("a", 3, BytesBody(b"two"))
    assert asked(cloud) == ["POST a?append&offset=0", "POST a?append&offset=3"]
    with pytest.raises(ObjectChanged):
        await store.append("a", 0, BytesBody(b"x"))
    with pytest.raises(ObjectNotFound):
        await store.append("absent", 3, BytesBody(b"x"))
    assert kept(cloud, store, "a").data == b"onetwo"


async def test_only_what_was_appended_can_be_appended_to(cloud: BosCloud, store: BosStore) -> None:
    await put(store, "a", b"")
    with pytest.raises(NotSupported):
        await store.append("a", 0, BytesBody(b"x"))


async def test_an_append_whose_answer_was_lost_is_not_done_twice(
    cloud: BosCloud, store: BosStore
) -> None:
    losses = [1]

    def lose(ask: Ask, answer: Response) -> Response:
        if ask.method == "POST" and losses:
            losses.pop()
            return Refusal("InternalError").response()
        return answer

    cloud.knobs.spoil = lose
    info = await Retrying(store).append("a", 0, BytesBody(b"once"))
    assert info.size == 4
    assert kept(cloud, store, "a").data == b"once"


@pytest.mark.parametrize("size", [6, 9 * MIB])
async def test_a_copy_of_an_appendable_object_is_an_ordinary_one(
    cloud: BosCloud, store: BosStore, size: int
) -> None:
    data = os.urandom(size)
    info = await store.append("a", 0, BytesBody(data), LABELLED)
    copied = await store.copy("a", "b", source_version=info.version, precondition=ABSENT)
    assert kept(cloud, store, "b").kind == "Normal"
    found = await store.stat("b")
    assert (found.version, found.size) == (copied.version, size)
    assert dict(found.metadata or {}) == LABELLED.metadata
    assert await get(store, "b") == data
    with pytest.raises(ObjectExists):
        await store.copy("a", "b", precondition=ABSENT)


async def test_new_attributes_make_an_appendable_object_an_ordinary_one(
    cloud: BosCloud, store: BosStore
) -> None:
    info = await store.append("a", 0, BytesBody(b"bytes"))
    labelled = await store.copy("a", "a", attributes=LABELLED, source_version=info.version)
    assert not labelled.is_appendable
    assert kept(cloud, store, "a").kind == "Normal"
    found = await store.stat("a")
    assert (found.version, dict(found.metadata or {})) == (labelled.version, LABELLED.metadata)


async def test_a_native_symlink_is_a_symlink(cloud: BosCloud, store: BosStore) -> None:
    await put(store, "d/target", b"twelve bytes", LABELLED)
    made = await store.make_symlink("e/link", Symlink("d/target"))
    found = await store.stat("e/link")
    assert found.version == made.version
    assert found.size == len("../d/target")
    assert int((found.metadata or {})["mode"]) == 0o120777
    assert await get(store, "e/link") == b"../d/target"
    assert await get(store, "e/link", 3, 4) == b"d/ta"
    assert await get(store, "e/link", 0, 3, at=found.version) == b"../"
    with pytest.raises(ObjectChanged):
        await get(store, "e/link", 0, 3, at=Version("0" * 32))
    assert await store.read_symlink("e/link") == Symlink("d/target")
    with pytest.raises(NotALink):
        await store.read_symlink("d/target")


async def test_a_symlink_is_copied_and_deleted_as_one(cloud: BosCloud, store: BosStore) -> None:
    await put(store, "target", b"bytes")
    link = await store.make_symlink("a", Symlink("target"))
    moved = await store.copy("a", "d/b", source_version=link.version)
    assert await get(store, "d/b", at=moved.version) == b"target"
    assert await store.read_symlink("d/b") == Symlink("d/target")
    await store.delete("a", link.version)
    assert await walk(store, "") == (["d/b", "target"], [])
    assert kept(cloud, store, "target").data == b"bytes"
    with pytest.raises(ObjectExists):
        await store.copy("d/b", "target", precondition=ABSENT)


async def test_many_dangling_symlinks_are_renamed(store: BosStore) -> None:
    for number in range(30):
        await store.make_symlink(f"d/{number}", Symlink("d/absent"))
    fresh = await store.list_page("d/")
    for info in fresh.objects:
        target = f"e/{info.key[2:]}"
        await store.copy(info.key, target, source_version=info.version)
        assert await store.read_symlink(target) == Symlink("e/absent")
    with pytest.raises(ObjectChanged):
        await store.copy("d/1", "e/1", source_version=Version("0" * 32))


async def test_a_symlink_that_leads_out_of_the_bucket(cloud: BosCloud, store: BosStore) -> None:
    await store.make_symlink("d/link", Symlink("target"))
    await store.copy("d/link", "link", precondition=ABSENT)
    assert kept(cloud, store, "link").kind == "Normal"
    assert await get(store, "link") == b"../target"
    assert int(((await store.stat("link")).metadata or {})["mode"]) == 0o120777
    with pytest.raises(NotSupported):
        await store.copy("d/link", "d/link", attributes=LABELLED)


async def test_a_symlink_does_not_replace_unasked(store: BosStore) -> None:
    await put(store, "there", b"x")
    with pytest.raises(ObjectChanged):
        await store.make_symlink("there", Symlink("t"), may_replace=False)
    for target in ("a\r\nx-bce-acl: public-read", " t", "../t", "/t"):
        with pytest.raises(InvalidKey):
            await store.make_symlink("l", Symlink(target))


async def test_symlinks_to_odd_names_and_other_buckets(store: BosStore) -> None:
    await put(store, "日本 %41+", b"x")
    await store.make_symlink("l", Symlink("日本 %41+"))
    assert await get(store, "l") == "日本 %41+".encode()
    await store.make_symlink("o", Symlink("k", "other-bucket"))
    assert await store.read_symlink("o") == Symlink("k", "other-bucket")


async def test_every_object_goes_with_its_checksum(cloud: BosCloud, store: BosStore) -> None:
    upload = await store.begin_upload("a", LABELLED)
    parts = [await upload.add_part(n, BytesBody(b"%d" % n * MIB)) for n in (1, 2)]
    copied = await upload.copy_part(3, "src", 0, 3, (await put(store, "src", b"end!")).version)
    assert copied.size == 3
    await upload.commit(parts)
    bodies = [ask for ask in cloud.knobs.seen if ask.method in ("PUT", "POST") and ask.body]
    assert len(bodies) == 4  # Two parts, "src", the commit of parts whose sums are known.
    assert all("x-bce-content-crc32" in ask.headers for ask in bodies)
    assert await get(store, "a") == b"1" * MIB + b"2" * MIB


async def test_bytes_that_were_changed_on_their_way_are_not_kept(
    cloud: BosCloud, store: BosStore
) -> None:
    def lie(ask: Ask, answer: Response) -> Response:
        answer.headers["x-bce-content-crc32"] = "1"
        return answer

    await put(store, "a", b"hello")
    cloud.knobs.spoil = lie
    with pytest.raises(Transient, match="CRC32"):
        await put(store, "b", b"hello")
    with pytest.raises(ConfusedServer, match="CRC32"):
        await get(store, "a")
    assert await get(store, "a", 1, 3) == b"ell"


async def test_a_part_of_a_read_is_not_taken_for_the_whole(store: BosStore) -> None:
    await put(store, "a", b"0123456789")
    sink = MemorySink(bytearray(4))
    await store.read_range("a", 0, 10, sink)
    assert sink.received == 4


async def test_a_condition_is_believed_after_it_was_seen_to_be_kept(
    cloud: BosCloud, store: BosStore
) -> None:
    assert not store.capabilities.conditional_write
    info = await put(store, "a", b"1", precondition=ABSENT)
    assert asked(cloud) == ["PUT a"]
    info = await put(store, "a", b"2", precondition=Precondition(info.version))
    assert store.capabilities.conditional_write
    asked(cloud)
    await put(store, "a", b"3", precondition=Precondition(info.version))
    assert asked(cloud) == ["PUT a"]


async def test_a_region_that_compares_no_versions_loses_no_update(
    cloud: BosCloud, store: BosStore
) -> None:
    cloud.limits.compares_if_match = False
    old = await put(store, "a", b"1")
    new = await put(store, "a", b"2", precondition=Precondition(old.version))
    assert not store.capabilities.conditional_write
    with pytest.raises(ObjectChanged):
        await put(store, "a", b"3", precondition=Precondition(old.version))
    upload = await store.begin_upload("a", LABELLED)
    part = await upload.add_part(1, BytesBody(b"4"))
    with pytest.raises(ObjectChanged):
        await upload.commit([part], Precondition(old.version))
    await upload.commit([part], Precondition(new.version))
    assert await get(store, "a") == b"4"


@pytest.mark.parametrize("status", [409, 412])
async def test_what_may_not_be_overwritten_is_there(
    cloud: BosCloud, store: BosStore, status: int
) -> None:
    cloud.limits.forbidden_status = status
    await put(store, "a", b"1", precondition=ABSENT)
    with pytest.raises(ObjectExists):
        await put(store, "a", b"2", precondition=ABSENT)


async def test_a_known_version_that_is_gone_is_a_change_at_commit(
    cloud: BosCloud, store: BosStore
) -> None:
    info = await put(store, "a", b"1")
    await put(store, "b", b"2", precondition=Precondition((await put(store, "b", b"1")).version))
    upload = await store.begin_upload("a", LABELLED)
    part = await upload.add_part(1, BytesBody(b"4"))
    await store.delete("a")
    with pytest.raises(ObjectChanged):
        await upload.commit([part], Precondition(info.version))
    with pytest.raises(ObjectNotFound):
        await store.stat("a")


async def test_a_commit_whose_answer_was_lost_succeeds(cloud: BosCloud, store: BosStore) -> None:
    upload = await store.begin_upload("a", LABELLED)
    parts = [await upload.add_part(n, BytesBody(b"%d" % n * MIB)) for n in (1, 2)]
    first = await upload.commit(parts)
    assert (await upload.commit(parts)).version == first.version
    await upload.abort()


async def test_an_error_in_an_answer_of_status_200_is_one(cloud: BosCloud, store: BosStore) -> None:
    await put(store, "a", b"1")

    def late(ask: Ask, answer: Response) -> Response:
        if "x-bce-copy-source" in ask.headers:
            answer = Refusal("InternalError", status=200).response()
        return answer

    cloud.knobs.spoil = late
    with pytest.raises(Transient) as caught:
        await store.copy("a", "b")
    assert caught.value.request_id


async def test_the_storage_class_is_given_and_kept(
    server: RunningEmulator, cloud: BosCloud
) -> None:
    store = opened(server, cloud.make_bucket(), storage_class="STANDARD_IA")
    await put(store, "a", b"x", LABELLED)
    await store.append("log", 0, BytesBody(b"x"))
    upload = await store.begin_upload("u", LABELLED)
    await upload.commit([await upload.add_part(1, BytesBody(b"x"))])
    assert {kept(cloud, store, key).storage_class for key in ("a", "log", "u")} == {"STANDARD_IA"}
    plain = opened(server, store._bucket)
    await plain.copy("a", "b")
    await plain.copy("a", "a", attributes=LABELLED)
    assert {kept(cloud, store, key).storage_class for key in ("a", "b")} == {"STANDARD_IA"}
    await store.aclose()
    await plain.aclose()


async def test_what_is_archived_says_so(cloud: BosCloud, store: BosStore) -> None:
    frozen = opened_like(store, cloud, "ARCHIVE")
    await put(frozen, "a", b"x")
    assert (await store.stat("a")).storage_class == "ARCHIVE"
    with pytest.raises(ObjectArchived):
        await get(store, "a")
    with pytest.raises(ObjectArchived):
        await store.copy("a", "b")
    await frozen.aclose()


def opened_like(store: BosStore, cloud: BosCloud, storage_class: str) -> BosStore:
    """Return another store over the same bucket, with this class."""
    origin = store._calls._address.origin
    found = RunningEmulator("bos", origin, cloud)
    return opened(found, store._bucket, storage_class=storage_class)


async def test_the_traffic_limit_goes_with_bytes_only(
    server: RunningEmulator, cloud: BosCloud
) -> None:
    store = opened(server, cloud.make_bucket(), traffic_limit_bytes_s=200_000)
    await put(store, "a", b"x")
    await get(store, "a", 0, 1)
    await store.stat("a")
    limits = [ask.headers.get("x-bce-traffic-limit") for ask in cloud.knobs.seen]
    assert limits == ["1600000", "1600000", None]
    with pytest.raises(ConfigurationError):
        opened(server, "bucket", traffic_limit_bytes_s=1000)
    await store.aclose()


async def test_a_session_token(server: RunningEmulator, cloud: BosCloud) -> None:
    bucket = cloud.make_bucket()
    cloud.tokens["good"] = cloud.knobs.now_s() + 100
    store = opened(server, bucket, "good")
    await store.check()
    cloud.knobs.skew_s = 200
    with pytest.raises(AccessDenied, match="token"):
        await store.check()
    await store.aclose()


async def test_a_renewed_token_is_taken_up(server: RunningEmulator, cloud: BosCloud) -> None:
    class Renewing(FixedCredentials):
        async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
            assert is_certain
            self._credentials = Credentials(ACCESS_KEY, SECRET_KEY, "new")
            return self._credentials if refused.session_token == "old" else None

    cloud.tokens["new"] = cloud.knobs.now_s() + 100
    renewing = Renewing(Credentials(ACCESS_KEY, SECRET_KEY, "old"))
    store = opened(server, cloud.make_bucket(), credentials=renewing)
    await put(store, "a", b"x")
    assert (await store.stat("a")).size == 1
    await store.aclose()


@pytest.mark.parametrize("skew_s", [-1200, 1200])
async def test_a_wrong_clock_is_named(cloud: BosCloud, store: BosStore, skew_s: float) -> None:
    cloud.knobs.skew_s = skew_s
    with pytest.raises(AccessDenied, match="clock"):
        await store.check()


async def test_the_host_that_is_signed_is_the_buckets(
    server: RunningEmulator, cloud: BosCloud
) -> None:
    bucket = cloud.make_bucket()
    store = opened(server, bucket, addressing="virtual")
    await put(store, "a b", b"x")
    assert cloud.knobs.seen[-1].host == f"{bucket}.bj.bcebos.com"
    assert await get(store, "a b") == b"x"
    await store.aclose()


async def test_a_batch_tells_which_keys_were_not_deleted(cloud: BosCloud, store: BosStore) -> None:
    for key in ("a", "b", "c"):
        await put(store, key, b"x")
    asked(cloud)
    failures = await store.delete_many(["a", "absent", "b", "x/../y"])
    assert list(failures) == ["x/../y"]
    assert [(ask.method, ask.query) for ask in cloud.knobs.seen] == [("POST", (("delete", ""),))]
    cloud.knobs.refuse_next(1, lambda ask: Refusal("SlowDown").response())
    assert set(await store.delete_many(["c", "d"])) == {"c", "d"}
    assert await Retrying(store).delete_many(["c", "d"]) == {}
    assert await walk(store, "") == ([], [])


async def test_throttling_is_waited_out(cloud: BosCloud, store: BosStore) -> None:
    cloud.knobs.refuse_next(2, lambda ask: Refusal("RequestRateLimitExceeded").response())
    await put(Retrying(store), "a", b"x", LABELLED)
    assert kept(cloud, store, "a").data == b"x"


async def test_metadata_that_fit_no_header(store: BosStore) -> None:
    metadata = {"mode": "33188", "odd": " é=?x?= \udcff\n", "raw": "a=?b"}
    await put(store, "a", b"x", ObjectAttributes(metadata))
    assert dict((await store.stat("a")).metadata or {}) == metadata
