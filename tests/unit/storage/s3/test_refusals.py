"""What a refusal means."""

from __future__ import annotations

import pytest

from bucketfs.errors import (
    AccessDenied,
    BucketfsError,
    BucketNotFound,
    ConfigurationError,
    InvalidKey,
    InvalidRequest,
    NotSupported,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    StorageError,
    Transient,
)
from bucketfs.storage.s3.refusals import blame, refusal
from bucketfs.transport.exchange import Response
from bucketfs.transport.signing import Blame


def refused(
    status: int,
    code: str = "",
    *,
    key: str | None = "k",
    headers: dict[str, str] | None = None,
    extra: str = "",
) -> BucketfsError:
    body = f"<Error><Code>{code}</Code><Message>m</Message>{extra}</Error>" if code else ""
    return refusal(
        Response(status, headers or {}, body.encode()),
        method="GET",
        operation="read",
        key=key,
        region="us-east-1",
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "", ObjectNotFound),
        (404, "NoSuchKey", ObjectNotFound),
        (404, "NoSuchUpload", ObjectNotFound),
        (404, "NoSuchBucket", BucketNotFound),
        (403, "", AccessDenied),
        (403, "AccessDenied", AccessDenied),
        (401, "", AccessDenied),
        (400, "ExpiredToken", AccessDenied),
        (403, "InvalidObjectState", ObjectArchived),
        (403, "QuotaExceeded", QuotaExceeded),
        (507, "XMinioStorageFull", QuotaExceeded),
        (400, "EntityTooLarge", ObjectTooLarge),
        (413, "", ObjectTooLarge),
        (400, "KeyTooLongError", InvalidKey),
        (400, "InvalidArgument", InvalidRequest),
        (409, "BucketNotEmpty", InvalidRequest),
        (412, "PreconditionFailed", ObjectChanged),
        (412, "", ObjectChanged),
        (501, "NotImplemented", NotSupported),
        (500, "InternalError", Transient),
        (502, "", Transient),
        (504, "", Transient),
        (400, "RequestTimeout", Transient),
        (409, "OperationAborted", Transient),
        (200, "InternalError", Transient),
    ],
)
def test_codes_and_statuses_have_their_errors(
    status: int, code: str, kind: type[StorageError]
) -> None:
    assert type(refused(status, code)) is kind


def test_a_404_without_a_code_is_about_what_was_asked() -> None:
    assert type(refused(404, key=None)) is BucketNotFound


def test_an_error_says_what_where_and_whom_to_ask() -> None:
    exc = refused(403, "AccessDenied", headers={"x-amz-request-id": "RID"})
    assert isinstance(exc, StorageError)
    assert (exc.key, exc.operation, exc.request_id) == ("k", "read", "RID")


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, ""), (503, "")])
def test_throttling_carries_its_pause(status: int, code: str) -> None:
    exc = refused(status, code, headers={"retry-after": "7"})
    assert isinstance(exc, Transient)
    assert (exc.throttled, exc.retry_after_s) == (True, 7.0)


def test_a_conflict_with_another_request_was_surely_not_done() -> None:
    exc = refused(409, "ConditionalRequestConflict")
    assert isinstance(exc, Transient)
    assert (exc.sent, exc.throttled) == (False, False)


@pytest.mark.parametrize(
    ("status", "headers", "extra"),
    [
        (301, {"x-amz-bucket-region": "eu-west-1"}, ""),
        (400, {"x-amz-bucket-region": "eu-west-1"}, ""),
        (400, {}, "<Region>eu-west-1</Region>"),
    ],
)
def test_a_wrong_region_names_the_right_one(
    status: int, headers: dict[str, str], extra: str
) -> None:
    exc = refused(status, "AuthorizationHeaderMalformed", headers=headers, extra=extra)
    assert isinstance(exc, ConfigurationError)
    assert "region=eu-west-1" in str(exc)


def test_the_right_region_is_no_reason_to_blame_it() -> None:
    headers = {"x-amz-bucket-region": "us-east-1"}
    assert type(refused(400, "InvalidArgument", headers=headers)) is InvalidRequest


def test_a_key_that_is_not_utf8_is_not_blamed_on_the_secret() -> None:
    assert type(refused(403, "SignatureDoesNotMatch", key="\udcff")) is InvalidKey
    assert type(refused(403, "SignatureDoesNotMatch", key="ä")) is AccessDenied


@pytest.mark.parametrize(
    ("status", "code", "blamed"),
    [
        (400, "ExpiredToken", Blame.KEYS),
        (403, "SignatureDoesNotMatch", Blame.KEYS),
        (403, "AccessDenied", Blame.PERHAPS_KEYS),
        (403, "RequestTimeTooSkewed", Blame.ELSEWHERE),
        (400, "", Blame.PERHAPS_KEYS),
        (404, "", Blame.ELSEWHERE),
        (200, "ExpiredToken", Blame.ELSEWHERE),
    ],
)
def test_what_newer_credentials_may_cure_is_known(status: int, code: str, blamed: Blame) -> None:
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    assert blame(Response(status, {}, body)) is blamed
