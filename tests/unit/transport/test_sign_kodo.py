"""Kodo's signatures: known examples, and what Qiniu's own SDK makes of the same input."""

from __future__ import annotations

import json
import string
from unittest import mock

import pytest
import qiniu
from hypothesis import assume, given
from hypothesis import strategies as st
from qiniu.utils import entry as sdk_entry

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials_kodo import KodoCredentials
from bucketfs.transport.sign_kodo import FORM_TYPE, Signer, encode_path, entry

AK = "AK0123456789abcdefghijklmnopqrstuvwxyzAB"
SK = "SK0123456789abcdefghijklmnopqrstuvwxyzAB"
NOW_S = 1_700_000_000
SIGNER = Signer(AK, SK)
AUTH = qiniu.Auth(AK, SK)
MAC = qiniu.QiniuMacAuth(AK, SK)

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
TARGETS = st.builds(
    lambda path, query: f"/{path}{'?' + query if query else ''}",
    st.text(string.ascii_letters + string.digits + "-_=/%.~:", max_size=40),
    st.text(string.ascii_letters + string.digits + "&=%-_", max_size=30),
)


def test_entries() -> None:
    assert entry("my-bucket", "dir/hello world.txt") == "bXktYnVja2V0OmRpci9oZWxsbyB3b3JsZC50eHQ="
    assert entry("my-bucket") == "bXktYnVja2V0"


@given(TEXT)
def test_entries_are_those_of_the_sdk(key: str) -> None:
    assert entry("my-bucket", key) == sdk_entry("my-bucket", key)


@pytest.mark.parametrize(
    ("method", "host", "target", "headers", "body", "expected"),
    [
        (
            *("POST", "127.0.0.1:9001", "/stat/bXktYnVja2V0OmEudHh0", {}, b""),
            "EHQila74sKUZFL4qX-y8cYJdOv8=",
        ),
        (
            *("POST", "127.0.0.1:9001", "/batch", {}),
            b"op=stat%2FbXktYnVja2V0OmEudHh0&op=delete%2FbXktYnVja2V0OmIudHh0",
            "eRb1skN2bKq8qDoDgcgapbUtTLc=",
        ),
        (
            *("GET", "127.0.0.1:9002"),
            "/list?bucket=my-bucket&limit=10&prefix=dir%2F&delimiter=%2F",
            *({}, b"", "KG8DML1qKE-oim3xdN6XXVwcg2g="),
        ),
        (
            *("PUT", "api.qiniuapi.com", "/sisyphus/fetch"),
            {"content-type": "application/json", "x-qiniu-abc": "1"},
            *(b'{"url":"http://x"}', "vb4ShWU-OnrPN60WwZyPRKM0vJo="),
        ),
    ],
)
def test_management_vectors(
    method: str, host: str, target: str, headers: dict[str, str], body: bytes, expected: str
) -> None:
    signed = SIGNER.management_headers(method, host, target, headers, body, NOW_S)
    assert signed["authorization"] == f"Qiniu {AK}:{expected}"
    assert signed["x-qiniu-date"] == "20231114T221320Z"


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    TARGETS,
    st.sampled_from([FORM_TYPE, "application/json", "application/octet-stream"]),
    st.dictionaries(
        st.text(string.ascii_lowercase, min_size=1, max_size=8),
        st.text(string.ascii_letters + string.digits + " ", max_size=8).map(str.strip),
        max_size=3,
    ),
    TEXT,
)
def test_management_tokens_are_those_of_the_sdk(
    method: str, target: str, content_type: str, more: dict[str, str], body: str
) -> None:
    assume(not target.startswith("//"))  # urllib takes it for a host.
    headers = {"content-type": content_type}
    headers |= {f"x-qiniu-{name}": value for name, value in more.items() if name != "date"}
    signed = SIGNER.management_headers(method, "h:1", target, headers, body.encode(), NOW_S)
    shown = {name.title(): value for name, value in signed.items() if name != "authorization"}
    url = f"http://h:1{target}"
    token = MAC.token_of_request(method, "h:1", url, MAC.qiniu_headers(shown), content_type, body)
    assert signed["authorization"] == f"Qiniu {token}"


@pytest.mark.parametrize(
    ("target", "form", "expected"),
    [
        ("/stat/bXktYnVja2V0Omtl", b"", "BJaqU4vhFQcNpvKxb0r2xPjp61E="),
        ("/batch", b"op=stat%2FX", "th0DEC015wSaFqteGgxFnFy3zH0="),
    ],
)
def test_the_older_tokens(target: str, form: bytes, expected: str) -> None:
    assert SIGNER.qbox_header(target, form) == f"QBox {AK}:{expected}"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            {"scope": "my-bucket:dir/hello world.txt"},
            "-FBzk6o_zMm_Eck69VX_Kxm9t-Y=:eyJzY29wZSI6Im15LWJ1Y2tldDpkaXIvaGVsbG8gd29ybGQudHh0Iiwi"
            "ZGVhZGxpbmUiOjE3MDAwMDM2MDB9",
        ),
        (
            {"scope": "my-bucket:目录/文件.txt", "fileType": 1},
            "rhjL2_or7bvztPZs3N3FCX7fZiI=:eyJzY29wZSI6Im15LWJ1Y2tldDpcdTc2ZWVcdTVmNTUvXHU2NTg3XHU0"
            "ZWY2LnR4dCIsImRlYWRsaW5lIjoxNzAwMDAzNjAwLCJmaWxlVHlwZSI6MX0=",
        ),
    ],
)
def test_upload_vectors(policy: dict[str, object], expected: str) -> None:
    scope = policy.pop("scope")
    token = SIGNER.upload_token({"scope": scope, "deadline": NOW_S + 3600, **policy})
    assert token == f"{AK}:{expected}"


@given(TEXT, st.dictionaries(st.sampled_from(["insertOnly", "fileType"]), st.integers(0, 5)))
def test_upload_tokens_are_those_of_the_sdk(key: str, policy: dict[str, int]) -> None:
    with mock.patch("qiniu.auth.time.time", return_value=NOW_S):
        expected = AUTH.upload_token("my-bucket", key, 3600, policy)
    ours = {"scope": f"my-bucket:{key}", "deadline": NOW_S + 3600, **policy}
    assert SIGNER.upload_token(ours) == expected
    assert json.loads(json.dumps(AUTH.up_token_decode(expected)[2])) == ours


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000/dir/hello%20world.txt", "gdF9RAeKHzExXyc7-Zrkh0VfD08="),
        ("http://127.0.0.1:9000/a.jpg?imageView2/1", "sEJdxlv8UfQnNwa1fEnJLO_a-O4="),
    ],
)
def test_download_vectors(url: str, expected: str) -> None:
    joint = "&" if "?" in url else "?"
    signed = SIGNER.private_url(url, NOW_S + 3600)
    assert signed == f"{url}{joint}e=1700003600&token={AK}:{expected}"


@given(TEXT, st.booleans())
def test_download_urls_are_those_of_the_sdk(key: str, has_query: bool) -> None:
    url = f"https://cdn.example.com/{encode_path(key)}{'?v=1' if has_query else ''}"
    with mock.patch("qiniu.auth.time.time", return_value=NOW_S):
        expected = AUTH.private_download_url(url, 3600)
    assert SIGNER.private_url(url, NOW_S + 3600) == expected


async def test_keys_of_the_environment() -> None:
    found = await KodoCredentials({"QINIU_ACCESS_KEY": "a", "QINIU_SECRET_KEY": "s"}).get()
    assert (found.access_key, found.secret_key) == ("a", "s")
    assert "s'" not in repr(found)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "QINIU_ACCESS_KEY and QINIU_SECRET_KEY"),
        ({"QINIU_ACCESS_KEY": "a"}, "QINIU_SECRET_KEY"),
        ({"QINIU_ACCESS_KEY": "", "QINIU_SECRET_KEY": "s"}, "QINIU_ACCESS_KEY"),
    ],
)
async def test_keys_that_are_missing(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        await KodoCredentials(environment).get()
