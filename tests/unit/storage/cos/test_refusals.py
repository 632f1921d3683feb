"""What refusals of COS mean."""

from __future__ import annotations

import pytest

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    StorageError,
    Transient,
)
from bucketfs.storage.cos.refusals import blame, refusal
from bucketfs.storage.refusals import InvalidRange
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame


def answer(status: int, code: str = "", body: bytes | None = None) -> Response:
    text = f"<Error><Code>{code}</Code><Message>why</Message><RequestId>id</RequestId></Error>"
    return Response(status, {}, text.encode() if body is None else body)


def meaning(response: Response, key: str | None = "k") -> StorageError:
    found = refusal(response, method="PUT", operation="write", key=key)
    assert isinstance(found, StorageError)
    return found


def test_a_redirect_is_for_a_person_to_correct() -> None:
    found = refusal(answer(302), method="GET", operation="list", key=None)
    assert isinstance(found, ConfigurationError)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", ObjectNotFound),
        (404, "NoSuchBucket", BucketNotFound),
        (404, "NoSuchUpload", ObjectNotFound),
        (403, "AccessDenied", AccessDenied),
        (403, "RequestTimeTooSkewed", AccessDenied),
        (403, "InvalidObjectState", ObjectArchived),
        (409, "FileAlreadyExists", ObjectExists),
        (409, "PositionNotEqualToLength", ObjectChanged),
        (400, "AppendPositionErr", ObjectChanged),
        (409, "ObjectNotAppendable", NotSupported),
        (409, "OperationNotAllowed", NotSupported),
        (412, "PreconditionFailed", ObjectChanged),
        (416, "InvalidRange", InvalidRange),
        (400, "EntityTooLarge", ObjectTooLarge),
        (400, "KeyTooLong", InvalidKey),
        (400, "MetadataTooLarge", InvalidRequest),
        (451, "UnavailableForLegalReasons", AccessDenied),
        (501, "NotImplemented", NotSupported),
        (418, "", InvalidRequest),
    ],
)
def test_codes(status: int, code: str, kind: type[StorageError]) -> None:
    found = meaning(answer(status, code))
    assert type(found) is kind
    assert (found.key, found.operation, found.request_id) == ("k", "write", "id")


@pytest.mark.parametrize(
    ("status", "code", "throttled", "sent"),
    [
        (503, "SlowDown", True, True),
        (500, "InternalError", False, True),
        (502, "", False, True),
        (400, "RequestTimeout", False, True),
        (400, "BadDigest", False, True),
        (409, "OperationAborted", False, False),
        (429, "", True, True),
    ],
)
def test_what_may_pass(status: int, code: str, throttled: bool, sent: bool) -> None:
    found = meaning(answer(status, code))
    assert isinstance(found, Transient)
    assert (found.throttled, found.sent) == (throttled, sent)


def test_a_head_has_no_document() -> None:
    assert type(meaning(Response(404, {"x-cos-request-id": "r"}))) is ObjectNotFound
    assert type(meaning(Response(404, {"x-cos-request-id": "r"}), key=None)) is BucketNotFound
    assert type(meaning(Response(404, {}))) is ConfusedServer
    assert type(meaning(Response(403, {"x-cos-request-id": "r"}))) is AccessDenied
    assert meaning(Response(403, {"x-cos-request-id": "r"})).request_id == "r"
    assert blame(Response(403, {})) is Blame.PERHAPS_KEYS


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>502 Bad Gateway</body></html>",
        b"<Error><Code>NoSuchKey</Co",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Error><Code>NoSuchKey&a;</Code></Error>',
        b"\xff\xfe",
    ],
)
def test_what_is_no_refusal_of_cos_says_nothing_of_objects(body: bytes) -> None:
    assert isinstance(meaning(answer(502, body=body)), Transient)
    assert type(meaning(answer(400, body=body))) is InvalidRequest


def test_only_some_refusals_are_cured_by_other_keys() -> None:
    assert blame(answer(403, "ExpiredToken")) is Blame.KEYS
    assert blame(answer(403, "SignatureDoesNotMatch")) is Blame.KEYS
    assert blame(answer(403, "AccessDenied")) is Blame.PERHAPS_KEYS
    assert blame(answer(403, "RequestTimeTooSkewed")) is Blame.ELSEWHERE
    assert blame(answer(404, "NoSuchKey")) is Blame.ELSEWHERE
