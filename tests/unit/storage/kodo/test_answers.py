"""Kodo's answers: JSON that makes sense or not, and what refusals mean."""

from __future__ import annotations

import base64
import json
from email.utils import formatdate
from time import time

import pytest

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfusedServer,
    InvalidRequest,
    NotSupported,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.interface import Part
from bucketfs.storage.kodo.documents import (
    download_info,
    parse_list,
    parse_object,
    parse_page,
    parse_parts,
    stat_info,
    text_of,
)
from bucketfs.storage.kodo.refusals import refusal
from bucketfs.transport.exchange import Response

REQUEST_ID = {"x-reqid": "RID"}
ITEM = {"key": "d/a", "hash": "Fh", "fsize": 5, "mimeType": "text/plain", "putTime": 17 * 10**15}


def marker(key: str) -> str:
    """Return a marker after `key`."""
    return base64.urlsafe_b64encode(json.dumps({"c": 0, "k": key}).encode()).decode()


def error(status: int, key: str | None = "k", **more: object) -> StorageError:
    """Return what a refusal of `status` means."""
    headers = {**REQUEST_ID, **{name: str(value) for name, value in more.items()}}
    return refusal(Response(status, headers, b'{"error":"said"}'), operation="o", key=key)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, ObjectNotFound),
        (405, NotSupported),
        (406, Transient),
        (412, ObjectChanged),
        (413, ObjectTooLarge),
        (419, AccessDenied),
        (429, Transient),
        (478, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
        (573, Transient),
        (579, InvalidRequest),
        (599, Transient),
        (608, Transient),
        (612, ObjectNotFound),
        (614, ObjectExists),
        (616, InvalidRequest),
        (630, QuotaExceeded),
        (631, BucketNotFound),
        (640, InvalidRequest),
        (701, ObjectNotFound),
    ],
)
def test_every_status_has_its_meaning(status: int, kind: type[StorageError]) -> None:
    found = error(status)
    assert type(found) is kind
    assert (found.key, found.operation, found.request_id) == ("k", "o", "RID")
    assert "said" in str(found)


@pytest.mark.parametrize("status", [429, 503, 573])
def test_throttling(status: int) -> None:
    found = error(status, None, **{"retry-after": 7})
    assert isinstance(found, Transient)
    assert found.throttled
    assert found.retry_after_s == 7


def test_nothing_about_a_bucket_says_that_an_object_is_missing() -> None:
    assert isinstance(error(612, None), AccessDenied)
    assert isinstance(error(404, None), InvalidRequest)


@pytest.mark.parametrize("status", [401, 404, 612, 614, 631, 301])
def test_who_is_not_kodo_is_not_believed(status: int) -> None:
    answer = Response(status, {}, b"<html>no such page</html>")
    found = refusal(answer, operation="o", key="k")
    assert isinstance(found, ConfusedServer)
    assert isinstance(refusal(Response(503, {}), operation="o", key="k"), Transient)
    domain = refusal(Response(404, {}), operation="o", key="k", is_download=True)
    assert isinstance(domain, ObjectNotFound)


def test_a_wrong_clock_is_named() -> None:
    assert "clock" in str(error(403, date=formatdate(time() + 3600, usegmt=True)))
    assert "clock" not in str(error(403, date=formatdate(time(), usegmt=True)))


def test_a_page() -> None:
    body = {"items": [ITEM], "commonPrefixes": ["d/e/", "d/f/", "d/e/"], "marker": "M"}
    page = parse_page(json.dumps(body).encode(), None)
    assert [info.key for info in page.objects] == ["d/a"]
    assert (page.objects[0].size, page.objects[0].modified_ns) == (5, 1_700_000_000 * 10**9)
    assert page.objects[0].metadata is None
    assert page.prefixes == ["d/e/", "d/f/"]
    assert page.next_marker == "M"
    again = parse_page(json.dumps(body).encode(), marker("d/e/x"))
    assert again.prefixes == ["d/f/"]


def test_a_page_may_be_empty_and_not_the_last() -> None:
    page = parse_page(b'{"items":null,"marker":"M"}', "opaque")
    assert (page.objects, page.prefixes, page.next_marker) == ([], [], "M")
    assert parse_page(b'{"items":[],"marker":""}', None).next_marker is None


def test_parts() -> None:
    item = {"size": 7, "etag": "E", "partNumber": 2, "putTime": 1}
    body = json.dumps({"partNumberMarker": 2, "parts": [item]}).encode()
    assert parse_parts(body) == ([Part(2, "E", 7)], 2)
    assert parse_parts(b'{"partNumberMarker":0,"parts":null}') == ([], 0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"{", b"\xff", b"[" * 200_000])
def test_answers_that_are_no_objects(body: bytes) -> None:
    with pytest.raises(ConfusedServer):
        parse_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"items":[{"key":"a"}]}',
        b'{"items":[{"key":"a","hash":"h","fsize":"x"}]}',
        b'{"items":[1]}',
        b'{"items":7}',
    ],
)
def test_pages_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(ConfusedServer):
        parse_page(body, None)


def test_other_answers_that_make_no_sense() -> None:
    with pytest.raises(ConfusedServer):
        parse_list(b"{}")
    with pytest.raises(ConfusedServer):
        parse_parts(b'{"parts":[{"size":1}]}')
    with pytest.raises(ConfusedServer):
        text_of(Response(200, {}, b'{"hash":null}'), "hash")
    with pytest.raises(ConfusedServer):
        stat_info("k", {**ITEM, "x-qn-meta": "text"})
    with pytest.raises(ConfusedServer):
        stat_info("k", {"hash": "h"})
    with pytest.raises(ConfusedServer, match="ETag"):
        download_info("k", {"content-length": "5"})
    with pytest.raises(ConfusedServer, match="size"):
        download_info("k", {"etag": "E"})


def test_metadata_of_a_download() -> None:
    headers = {
        "etag": 'W/"Fh"',
        "content-type": "text/plain",
        "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-qn-meta-a": "日本".encode().decode("latin-1"),
    }
    info = download_info("k", {**headers, "content-length": "5"})
    assert (info.version, info.size, info.modified_ns) == ("Fh", 5, 1_700_000_000 * 10**9)
    assert info.metadata == {"a": "日本"}
