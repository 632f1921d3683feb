"""Digests: other bytes are noticed where the server's ETags are digests, and only there."""

from __future__ import annotations

import hashlib

from bucketfs.storage.interface import BytesBody
from bucketfs.storage.s3.digests import LARGE_BYTES, DigestedBody, Digests

MD5 = hashlib.md5(b"hello").hexdigest()
OTHER = "0" * 32


def sent(digests: Digests) -> DigestedBody:
    body = digests.of(BytesBody(b"hello"))
    assert b"".join(body) == b"hello"
    assert isinstance(body, DigestedBody)
    assert body.md5 == MD5
    assert body.size == 5
    return body


def agrees(digests: Digests, etag: str, *, is_first: bool = True, **more: str) -> bool:
    return digests.agrees(sent(digests), {"etag": f'"{etag}"', **more}, is_first=is_first)


def test_once_etags_were_digests_they_have_to_be() -> None:
    digests = Digests(are_large_compared=True)
    assert agrees(digests, MD5)
    assert not agrees(digests, OTHER)
    assert not agrees(digests, OTHER, is_first=False)


def test_a_first_disagreement_is_looked_at_twice() -> None:
    digests = Digests(are_large_compared=True)
    assert not agrees(digests, OTHER)
    assert agrees(digests, MD5, is_first=False)
    assert not agrees(digests, OTHER)


def test_a_server_with_etags_of_its_own_is_believed() -> None:
    digests = Digests(are_large_compared=True)
    assert not agrees(digests, OTHER)
    assert agrees(digests, OTHER, is_first=False)
    body = digests.of(BytesBody(b"hello"))
    assert not isinstance(body, DigestedBody)
    assert digests.agrees(body, {"etag": OTHER}, is_first=True)


def test_what_is_no_digest_proves_nothing() -> None:
    digests = Digests(are_large_compared=True)
    assert agrees(digests, MD5)
    assert agrees(digests, f"{OTHER}-3")
    assert digests.agrees(sent(digests), {}, is_first=True)
    encrypted = {"x-amz-server-side-encryption": "aws:kms"}
    assert digests.agrees(sent(digests), {"etag": OTHER, **encrypted}, is_first=True)
    plain = {"x-amz-server-side-encryption": "AES256"}
    assert not digests.agrees(sent(digests), {"etag": OTHER, **plain}, is_first=True)


def test_large_bodies_are_compared_where_nothing_else_does() -> None:
    large = BytesBody(bytes(LARGE_BYTES + 1))
    assert isinstance(Digests(are_large_compared=True).of(large), DigestedBody)
    elsewhere = Digests(are_large_compared=False)
    assert elsewhere.of(large) is large
    assert isinstance(elsewhere.of(BytesBody(bytes(LARGE_BYTES))), DigestedBody)
