"""bce-auth-v1: vectors that Baidu's own SDK made, and the SDK itself on random input."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

import pytest
from baidubce import utils
from baidubce.auth import bce_v1_signer
from baidubce.auth.bce_credentials import BceCredentials
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.transport.sign_bos import (
    Signer,
    canonical_headers,
    canonical_query,
    encode_path,
)

ACCESS = "ak0123456789abcdef0123456789abcdef"
SECRET = "sk0123456789abcdef0123456789abcdef"
NOW_S = 1_700_000_000
LOCAL = "127.0.0.1:8080"
VECTORS = {
    "B1": (
        *("GET", "/", [], {"host": "bj.bcebos.com", "content-length": "0"}),
        "472a57136ba7905c20ed80c6339d4e0ae504b6972ca59b28bbb9a0527d784d9f",
    ),
    "B2": (
        *("PUT", "/v-bucket/dir/hello world.txt", []),
        {
            "host": LOCAL,
            "content-length": "5",
            "content-type": "text/plain; charset=utf-8",
            "content-md5": "XUFAKrxLKna5cZ2REBfFkg==",
            "x-bce-meta-name": "a b/ü".encode().decode("latin-1"),
        },
        "123f11dadeb7351edadafffd8a11cbb6701314074bbe4e21a36a3fe37aa84153",
    ),
    "B3": (
        *("GET", "/v-bucket"),
        [("maxKeys", "1000"), ("prefix", "dir/"), ("delimiter", "/"), ("marker", "目")],
        {"host": LOCAL, "content-length": "0"},
        "07d4e7bfe6c2b8b4c38a887fe7332b176fc7dea6d911889359feba265dc3203c",
    ),
    "B5": (
        *("POST", "/v-bucket/k", [("uploads", "")]),
        {"host": LOCAL, "content-length": "0", "content-type": "application/octet-stream"},
        "91c8ea4caa5b1c95a2006985dec3454f43baa7dcce7fad47c7f845926af518f6",
    ),
}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"), VECTORS.values(), ids=VECTORS
)
def test_vectors(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: Mapping[str, str],
    signature: str,
) -> None:
    signed = Signer(ACCESS, SECRET).headers(
        method, encode_path(path), canonical_query(query), headers, NOW_S
    )
    prefix, names, found = signed["authorization"].rsplit("/", 2)
    assert prefix == f"bce-auth-v1/{ACCESS}/2023-11-14T22:13:20Z/1800"
    assert names.split(";") == sorted({*headers, "x-bce-date"})
    assert found == signature


@pytest.mark.parametrize(
    ("method", "host", "path", "token", "signature"),
    [
        (
            *("GET", LOCAL, "/v-bucket/dir/hello world.txt", None),
            "547165fc672f318dc0cbf98d53348b40c09380f91ed02a9499a05978240ee31e",
        ),
        (
            *("PUT", LOCAL, "/v-bucket/dir/hello world.txt", None),
            "a5998e2a6273b63fa39ac59a87bc9f5fbcb0ac3604cf275a1bd25b944e133250",
        ),
        (
            *("GET", "v-bucket.bj.bcebos.com", "/k", "STSTOKEN"),
            "0094eb72691f5cb4cb17a64e1291ad939946e34540b1c65cf0d6588013d4ebf0",
        ),
    ],
    ids=["BP1", "BP2", "BP3"],
)
def test_presigned_vectors(
    method: str, host: str, path: str, token: str | None, signature: str
) -> None:
    signer = Signer(ACCESS, SECRET, token)
    query = signer.presigned_query(method, encode_path(path), [], host, expires_s=3600, now_s=NOW_S)
    fields = parse_qs(query)
    (authorization,) = fields["authorization"]
    assert authorization == f"bce-auth-v1/{ACCESS}/2023-11-14T22:13:20Z/3600/host/{signature}"
    assert fields.get("x-bce-security-token") == ([token] if token else None)


def test_the_token_is_signed() -> None:
    signed = Signer(ACCESS, SECRET, "token").headers("GET", "/", "", {"host": LOCAL}, NOW_S)
    assert signed["x-bce-security-token"] == "token"
    assert "x-bce-security-token" in signed["authorization"]


def test_neither_ranges_nor_conditions_nor_empty_values_are_signed() -> None:
    headers = {"host": LOCAL, "range": "bytes=0-1", "if-match": '"x"', "x-bce-meta-empty": " "}
    signed = Signer(ACCESS, SECRET).headers("GET", "/", "", headers, NOW_S)
    assert signed["authorization"].split("/")[-2] == "host;x-bce-date"


NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC-_. ~*+ü目", min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
META = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8)


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    key=VALUES,
    query=st.dictionaries(NAMES, VALUES, max_size=4),
    metadata=st.dictionaries(META, VALUES, max_size=4),
    now_s=st.integers(1, 2_000_000_000),
)
def test_what_the_sdk_signs(
    method: str, key: str, query: dict[str, str], metadata: dict[str, str], now_s: int
) -> None:
    query.pop("authorization", None)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    assert calendar.timegm(time.gmtime(now_s)) == now_s
    headers = {"host": LOCAL, "content-length": "0"}
    headers |= {
        f"x-bce-meta-{name}": value.encode().decode("latin-1") for name, value in metadata.items()
    }
    path = f"/bucket/{encode_path(key)}"
    signed = Signer(ACCESS, SECRET).headers(
        method, path, canonical_query(query.items()), headers, now_s
    )
    theirs = bce_v1_signer.sign(
        BceCredentials(ACCESS, SECRET),
        method.encode(),
        utils.normalize_string(f"/bucket/{key}", False),
        {
            name.encode(): value.encode("latin-1")
            for name, value in {**headers, "x-bce-date": stamp}.items()
        },
        {name.encode(): value.encode() for name, value in query.items()},
        now_s,
    )
    assert signed["authorization"].split("/")[-1] == theirs.decode().split("/")[-1]
    assert signed["authorization"].split("/")[:4] == theirs.decode().split("/")[:4]


def test_canonical_headers_are_sorted_and_encoded() -> None:
    headers = {"host": "h:1", "content-type": "a/b; c", "x": "unsigned"}
    assert canonical_headers(headers, ["host", "content-type"]) == (
        "content-type:a%2Fb%3B%20c\nhost:h%3A1"
    )
