"""BOS without a server: keys, addresses, documents, refusals, checksums, links."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    Transient,
)
from bucketfs.storage.bos.addressing import find_address
from bucketfs.storage.bos.checksums import SummedBody, combined_crc32
from bucketfs.storage.bos.documents import (
    parse_listing,
    parse_parts,
    parse_refused,
    parse_tag,
    parse_upload_id,
)
from bucketfs.storage.bos.headers import attribute_headers
from bucketfs.storage.bos.keys import check_key
from bucketfs.storage.bos.links import Symlink
from bucketfs.storage.bos.refusals import blame, refusal
from bucketfs.storage.bos.upload import joined_tag
from bucketfs.storage.interface import BytesBody, ObjectAttributes, Part
from bucketfs.storage.s3.addressing import Addressing
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame


@pytest.mark.parametrize(
    "key",
    ["", "/a", "v1", "v1/", "a/../b", ".", "a/.", "x" * 1024, "目" * 342, "a\udcff"],
)
def test_keys_that_bos_cannot_hold(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(key, "stat", is_new=False)


@pytest.mark.parametrize("key", ["a", "a//b", "d/", "v1/a", "a..b", "目" * 341, "a\nb", " "])
def test_keys_that_bos_holds(key: str) -> None:
    check_key(key, "write", is_new=True)


def test_keys_with_at_signs_are_not_made_but_can_be_removed() -> None:
    with pytest.raises(InvalidKey, match="@"):
        check_key("photo@2x.png", "write", is_new=True)
    check_key("photo@2x.png", "delete", is_new=False)


@pytest.mark.parametrize(
    ("endpoint", "region", "addressing", "origin", "host", "path"),
    [
        (None, None, "auto", "https://b-1.bj.bcebos.com", "b-1.bj.bcebos.com", "/k%20"),
        (None, "su", "auto", "https://b-1.su.bcebos.com", "b-1.su.bcebos.com", "/k%20"),
        (None, None, "path", "https://bj.bcebos.com", "bj.bcebos.com", "/b-1/k%20"),
        (
            *("http://gz.bcebos.com", None, "auto"),
            *("http://b-1.gz.bcebos.com", "b-1.gz.bcebos.com", "/k%20"),
        ),
        (
            *("http://b-1.gz.bcebos.com", None, "auto"),
            *("http://b-1.gz.bcebos.com", "b-1.gz.bcebos.com", "/k%20"),
        ),
        ("http://127.0.0.1:80", None, "auto", "http://127.0.0.1:80", "127.0.0.1", "/b-1/k%20"),
        (
            *("http://localhost:9001", None, "auto"),
            *("http://localhost:9001", "localhost:9001", "/b-1/k%20"),
        ),
        (
            *("http://127.0.0.1:9001", "su", "virtual"),
            *("http://127.0.0.1:9001", "b-1.su.bcebos.com", "/k%20"),
        ),
    ],
)
def test_addresses(
    endpoint: str | None,
    region: str | None,
    addressing: Addressing,
    origin: str,
    host: str,
    path: str,
) -> None:
    address = find_address("b-1", endpoint, region, addressing=addressing)
    assert (address.origin, address.host, address.path("k ")) == (origin, host, path)


def test_a_bucket_of_a_regions_name_is_no_region() -> None:
    assert find_address("bj1", "http://bj1.bcebos.com", None).host == "bj1.bj1.bcebos.com"


@pytest.mark.parametrize("bucket", ["b", "B-1", "-b1", "a.b", "a" * 64, "a/b"])
def test_names_that_no_bucket_has(bucket: str) -> None:
    with pytest.raises(ConfigurationError):
        find_address(bucket, None, None)


@pytest.mark.parametrize("endpoint", ["ftp://x", "http://u@h", "http://h?q"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        find_address("bucket", endpoint, None)


def listing(**changes: object) -> bytes:
    item = {"key": "a", "lastModified": "2023-11-14T22:13:20Z", "eTag": "e", "size": 5}
    return json.dumps({"isTruncated": False, "contents": [item], **changes}).encode()


def test_a_listing() -> None:
    page = parse_listing(listing(commonPrefixes=[{"prefix": "d/"}]))
    (info,) = page.objects
    assert (info.key, info.size, info.version) == ("a", 5, "e")
    assert info.modified_ns == 1_700_000_000 * 10**9
    assert (page.prefixes, page.next_marker) == (["d/"], None)


def test_a_listing_that_goes_on_names_its_marker_or_ends_with_it() -> None:
    assert parse_listing(listing(isTruncated=True, nextMarker="n")).next_marker == "n"
    assert parse_listing(listing(isTruncated=True)).next_marker == "a"
    with pytest.raises(ConfusedServer):
        parse_listing(listing(isTruncated=True, contents=[]))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        listing()[:-9],
        b"[]",
        b"[" * 100_000,
        b'{"isTruncated": false}',
        listing(contents=[{"key": "a"}]),
        listing(contents=[{"key": 1, "size": 1}]),
        listing(contents=[{"key": "a", "size": "x"}]),
        listing(contents=[{"key": "a", "size": 1, "lastModified": "yesterday"}]),
        listing(contents=[5]),
    ],
)
def test_what_is_no_listing_is_never_an_empty_one(text: bytes) -> None:
    with pytest.raises(ConfusedServer):
        parse_listing(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(
        ["contents", "key", "size", "eTag", "parts", "partNumber", "errors", "uploadId", "code",
         "isTruncated", "nextMarker", "commonPrefixes", "prefix", "nextPartNumberMarker"]), inner)
)))  # fmt: skip
def test_odd_documents_are_refused_as_such(document: object) -> None:
    text = json.dumps(document).encode()
    for parse in (parse_listing, parse_parts, parse_tag, parse_upload_id, parse_refused):
        try:
            parse(text)
        except ConfusedServer:
            continue


def test_refused_keys_of_a_batch() -> None:
    assert parse_refused(b"") == {}
    assert parse_refused(b'{"errors":[{"key":"a","code":"AccessDenied"}]}') == {"a": "AccessDenied"}


def answer(status: int, code: str = "", **headers: str) -> Response:
    body = {"code": code, "message": "m", "requestId": "RID"}
    return Response(status, headers, json.dumps(body).encode() if code else b"")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "SignatureDoesNotMatch", AccessDenied),
        (403, "RequestExpired", AccessDenied),
        (403, "", AccessDenied),
        (404, "NoSuchKey", ObjectNotFound),
        (404, "NoSuchBucket", BucketNotFound),
        (404, "NoSuchUpload", ObjectNotFound),
        (404, "", ConfusedServer),
        (412, "PreconditionFailed", ObjectChanged),
        (409, "OffsetIncorrect", ObjectChanged),
        (409, "PreconditionFailed", ObjectChanged),
        (403, "ObjectUnappendable", NotSupported),
        (403, "InvalidObjectState", ObjectArchived),
        (400, "InvalidObjectName", InvalidKey),
        (400, "InvalidArgument", InvalidRequest),
        (400, "BadDigest", Transient),
        (500, "InternalError", Transient),
        (503, "SlowDown", Transient),
        (502, "", Transient),
        (429, "", Transient),
        (501, "NotImplemented", NotSupported),
        (302, "", ConfigurationError),
    ],
)
def test_refusals(status: int, code: str, kind: type[BucketfsError]) -> None:
    found = refusal(answer(status, code), method="GET", operation="read", key="k")
    assert isinstance(found, kind)
    if code:
        assert code in str(found)
        assert "RID" in str(found) or isinstance(found, ConfigurationError)


def test_throttling_says_so_and_for_how_long() -> None:
    found = refusal(
        answer(503, "SlowDown", **{"retry-after": "7"}), method="GET", operation="read", key="k"
    )
    assert isinstance(found, Transient)
    assert found.throttled
    assert found.retry_after_s == 7


def test_a_refusal_that_is_an_html_page_of_a_proxy() -> None:
    page = Response(407, {}, b"<html>authenticate</html>")
    assert isinstance(refusal(page, method="GET", operation="list", key=None), InvalidRequest)
    gone = Response(404, {}, b"<html>gone</html>")
    assert isinstance(refusal(gone, method="GET", operation="list", key=None), ConfusedServer)


def test_a_head_has_no_document() -> None:
    head = Response(404, {"x-bce-request-id": "RID"})
    assert isinstance(refusal(head, method="HEAD", operation="stat", key="k"), ObjectNotFound)


def test_when_other_credentials_may_help() -> None:
    assert blame(answer(403, "InvalidSessionToken")) is Blame.KEYS
    assert blame(answer(403, "SignatureDoesNotMatch")) is Blame.KEYS
    assert blame(answer(403)) is Blame.PERHAPS_KEYS
    assert blame(answer(403, "RequestExpired")) is Blame.ELSEWHERE
    assert blame(answer(404, "NoSuchKey")) is Blame.ELSEWHERE


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_checksums_of_parts_combine(pieces: list[bytes]) -> None:
    parts = [(SummedBody(BytesBody(piece)).crc32, len(piece)) for piece in pieces]
    assert combined_crc32(parts) == zlib.crc32(b"".join(pieces))


def test_what_the_server_stored_is_compared() -> None:
    body = SummedBody(BytesBody(b"hello"))
    assert body.crc32 == 907060870
    body.check_stored({"x-bce-content-crc32": "907060870"})
    body.check_stored({})
    with pytest.raises(Transient):
        body.check_stored({"x-bce-content-crc32": "1"})
    body.check_tag("5d41402abc4b2a76b9719d911017c592")
    body.check_tag("-" + "0" * 32)
    with pytest.raises(Transient):
        body.check_tag("0" * 32)


def test_the_tag_of_several_parts() -> None:
    parts = [
        Part(1, "79b281060d337b9b2b84ccf390adcf74", 5 << 20),
        Part(2, "bbe6402cdc9b7e2036fc97e9a91726cd", 1024),
    ]
    assert joined_tag(parts) == "-cfd2c35e44ba27d3c437a2866b025b6a"
    assert joined_tag(parts[:1]) == parts[0].tag
    assert joined_tag([Part(1, "odd", 1)]) is None
    assert joined_tag([]) is None


def test_metadata_are_bounded() -> None:
    with pytest.raises(InvalidRequest, match="2048"):
        attribute_headers(ObjectAttributes({"a": "x" * 2040}))
    assert attribute_headers(ObjectAttributes({"a": "ü"}))["x-bce-meta-a"].isascii()


def test_a_link_that_is_copied_keeps_its_text() -> None:
    assert Symlink("d/f").moved("d/l", "e/l") == Symlink("e/f")
    assert Symlink("d/f").moved("l", "m") == Symlink("d/f")
    assert Symlink("f").moved("d/l", "e/g/l") == Symlink("e/f")
    assert Symlink("f").moved("d/l", "l") is None, "a key cannot lead out of the bucket"
    assert Symlink("d/").moved("l", "e/l") == Symlink("e/d/")
    assert Symlink("k", "other").moved("l", "d/l") == Symlink("k", "other")


@pytest.mark.parametrize(
    ("key", "link", "text"),
    [
        ("l", Symlink("a"), "a"),
        ("d/l", Symlink("a"), "../a"),
        ("d/l", Symlink("d/a b/c"), "a b/c"),
        ("d/e/l", Symlink("d/f"), "../f"),
        ("l", Symlink("k", "other"), "bos:/other/k"),
    ],
)
def test_a_links_target_is_the_way_to_its_key(key: str, link: Symlink, text: str) -> None:
    assert link.text(key) == text
