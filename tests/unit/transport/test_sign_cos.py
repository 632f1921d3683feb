"""Signatures of COS against vectors of Tencent's SDK, and against the SDK itself."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth

from bucketfs.transport.sign_cos import Signer, encode_path, wire_query

SECRET_ID = "AKIDEXAMPLE0123456789abcdefghijklmnop"
SECRET_KEY = "SKEXAMPLE0123456789abcdefghijklm"
HOST = "examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com"
NOW_S = 1_700_000_060.0

LIST = [
    *(("prefix", "dir/"), ("delimiter", "/"), ("marker", ""), ("max-keys", "1000")),
    ("encoding-type", "url"),
]
PUT = {
    "content-type": "text/plain; charset=utf-8",
    "content-md5": "XrY7u+Ae7tCTyyK7j1rNww==",
    "x-cos-meta-name": "a b/ü",
    "content-length": "11",
}
ODD = [("response-content-type", "text/html"), ("versionId", "MTg0"), ("uploadId", "AbC")]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "expires_s", "signature"),
    [
        ("GET", "/dir/hello world.txt", [], {}, 300, "b029fcdebbde5b1f90f78e93a4b5fe9ac261033c"),
        ("PUT", "/目录/a+b&c.txt", [], PUT, 600, "d4abb72814a8acdbcb37ed64c3a22f0c8dabaaa6"),
        ("GET", "/", LIST, {}, 300, "b8c18126a87a294d3e2b529d5685d1b6b430243f"),
        (
            *("POST", "/log.txt", [("append", ""), ("position", "0")], {"content-length": "3"}),
            *(300, "55162489dc2d8a78f84bacf30dd2ec626ad99838"),
        ),
        ("GET", "/x", ODD, {}, 300, "415ebd7164eef8c6fc3ffd655d50be5b867ceed5"),
        ("GET", "/dir/hello world.txt", [], {}, 3600, "a3b1c70b7c8f6761789abd03ac1516ed0e1a86be"),
        (
            *("PUT", "/dir/hello world.txt", [("partNumber", "1"), ("uploadId", "AbC")]),
            *({"content-type": "text/plain"}, 3600, "c551e6dbb87f4000768b0fcf24e9d5f3868f0ed6"),
        ),
    ],
    ids=["V1", "V2", "V3", "V4", "V6", "P1", "P2"],
)
def test_vectors(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    expires_s: int,
    signature: str,
) -> None:
    signed = Signer(SECRET_ID, SECRET_KEY).presigned_query(
        method, path, query, {"host": HOST, **headers}, expires_s=expires_s, now_s=NOW_S
    )
    fields = dict(parse_qsl(signed, keep_blank_values=True))
    assert fields["q-signature"] == signature
    assert fields["q-key-time"] == f"1700000000;{1_700_000_060 + expires_s}"
    assert all(fields[name] == value for name, value in query)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
NAMES = st.sampled_from(
    ["prefix", "uploadId", "partNumber", "append", "response-Content-Type", "a b"]
)
HEADERS = st.sampled_from(
    ["content-type", "content-md5", "range", "if-match", "x-cos-meta-a", "x-cos-copy-source"]
)


@given(
    st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]),
    TEXT,
    st.dictionaries(NAMES, TEXT, max_size=4),
    st.dictionaries(HEADERS, st.text(st.characters(codec="ascii", min_codepoint=32), max_size=12)),
)
def test_signatures_are_those_of_the_sdk(
    method: str, key: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    config = CosConfig(Region="ap-guangzhou", SecretId=SECRET_ID, SecretKey=SECRET_KEY)
    sent = SimpleNamespace(method=method, url=f"https://{HOST}/", headers={**headers, "host": HOST})
    sdk = CosS3Auth(config, f"/{key}", query, 3600)(sent).headers["Authorization"]
    began = dict(item.partition("=")[::2] for item in sdk.split("&"))["q-sign-time"]
    now_s = float(began.partition(";")[0]) + 60
    ours = Signer(SECRET_ID, SECRET_KEY).headers(
        method, f"/{key}", query.items(), {**headers, "host": HOST}, now_s
    )
    assert ours["authorization"] == sdk


def test_a_token_is_sent_and_signed() -> None:
    signed = Signer(SECRET_ID, SECRET_KEY, "token").headers("GET", "/", [], {"host": HOST}, NOW_S)
    assert signed["x-cos-security-token"] == "token"
    assert "q-header-list=host;x-cos-security-token&" in signed["authorization"]


def test_what_is_not_signed_is_sent_all_the_same() -> None:
    signed = Signer(SECRET_ID, SECRET_KEY).headers(
        "GET", "/", [], {"host": HOST, "user-agent": "x"}, NOW_S
    )
    assert signed["user-agent"] == "x"
    assert "user-agent" not in signed["authorization"]


def test_paths_and_queries_as_the_wire_has_them() -> None:
    assert encode_path("a./../b/./c//d") == "a.%2F..%2Fb/.%2Fc//d"
    assert encode_path("目 录+&") == "%E7%9B%AE%20%E5%BD%95%2B%26"
    assert wire_query([("uploads", ""), ("prefix", "a/b")]) == "?uploads&prefix=a%2Fb"
    assert wire_query([]) == ""
