"""Signatures against vectors that botocore made."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.transport.sign_s3 import (
    EMPTY_SHA256,
    Signer,
    canonical_query,
    canonical_request,
    encode,
    encode_path,
)

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW_S = 1_700_000_000.0  # 20231114T221320Z
HOST = "127.0.0.1:9000"
STAMP = "20231114T221320Z"

VECTORS = [
    pytest.param(
        ("GET", "/bucket/dir/hello%20world.txt", [], {}, EMPTY_SHA256, None),
        "a725741297654f0f2a03f6826e9e8dae414a4b387a4643a23949d645d1de1f6f",
        "424ae27d672c1659074ab45f157cec4a2b37f44a752253e98e8fefcb39129f61",
        id="S1-get",
    ),
    pytest.param(
        (
            "PUT",
            "/bucket/a%2Bb%26c.txt",
            [],
            {"content-type": "text/plain", "x-amz-meta-k": "a  b "},
            hashlib.sha256(b"hello").hexdigest(),
            None,
        ),
        "0bdc2da1bcbd0659f104f9587449d0867ba410471dc1758df0496a672422140b",
        "1f3876f97ab3e47a5ffc9fe4636a86e2d5d507bdc3ed5b4c3a60f1703b9e50c7",
        id="S2-put",
    ),
    pytest.param(
        (
            "GET",
            "/bucket",
            [("list-type", "2"), ("prefix", "dir/"), ("delimiter", "/"), ("max-keys", "1000")],
            {},
            EMPTY_SHA256,
            None,
        ),
        "a92f1b77a96d480320d32d24ed4b450ca7c529a81b1a4e0f0a9179e45ddd966c",
        "aaab8f9d6ce9fa980cabbcc209f1b99dee37896e5b033136808b9008b2729fa1",
        id="S3-list",
    ),
    pytest.param(
        ("GET", "/bucket/k", [], {"range": "bytes=0-9"}, EMPTY_SHA256, "SESSIONTOKEN"),
        "543f0178190a2a6143f37e462fe27bdea7bdb8e1bfb70887b94cecf59427f27c",
        "d67675fb76665961c5d426961c81735aecb94756944a2339d8f3440df964b2ae",
        id="S4-token",
    ),
]

Asked = tuple[str, str, list[tuple[str, str]], dict[str, str], str, str | None]


@pytest.mark.parametrize(("asked", "canonical_sha256", "signature"), VECTORS)
def test_signatures_are_those_of_the_sdk(
    asked: Asked, canonical_sha256: str, signature: str
) -> None:
    method, path, pairs, headers, payload_hash, token = asked
    query = canonical_query(pairs)
    signer = Signer(KEY, SECRET, "us-east-1", token)
    signed = signer.headers(method, path, query, {**headers, "host": HOST}, payload_hash, NOW_S)
    assert signed["x-amz-date"] == STAMP
    assert signed["authorization"].endswith(f"Signature={signature}")
    unsigned = {name: value for name, value in signed.items() if name != "authorization"}
    canonical, _ = canonical_request(method, path, query, unsigned, payload_hash)
    assert hashlib.sha256(canonical.encode()).hexdigest() == canonical_sha256


def test_a_presigned_url_is_that_of_the_sdk() -> None:
    query = Signer(KEY, SECRET, "us-east-1").presigned_query(
        "GET", "/bucket/dir/hello%20world.txt", [], HOST, expires_s=3600, now_s=NOW_S
    )
    assert query.endswith(
        "X-Amz-Signature=643fc0654d9956296e35d03341753532387cdcb63a8e18b693698d4124b2ab1e"
    )


def test_the_signing_key_is_of_its_day() -> None:
    signer = Signer(KEY, SECRET, "us-east-1")
    key = signer.signing_key("20231114")
    assert key.hex() == "10e8a05fdb91a8d996fd1dac3b86cdea3db52767d37d1ea8e8752563e26e8f46"
    assert signer.signing_key("20231115") != key
    assert signer.signing_key("20231114") == key


def test_encoding_keeps_only_what_sigv4_leaves_unreserved() -> None:
    assert encode("AZaz09-_.~") == "AZaz09-_.~"
    assert encode("/ +%é") == "%2F%20%2B%25%C3%A9"
    assert encode_path("a//../é \udcff") == "a//../%C3%A9%20%FF"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_is_encoded_as_ascii_that_http_can_carry(text: str) -> None:
    assert all("!" <= char <= "~" for char in encode(text))
