"""Signatures of Tencent COS (q-sign-algorithm=sha1): pure, no I/O.

Written against the signature document of COS's XML API. The path is signed decoded, as raw UTF-8;
names and values of the query and of headers are signed percent-encoded. The server verifies only
what the two lists in the signature name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import quote

TOKEN_HEADER = "x-cos-security-token"
_SAFE = "-_.~"
_EARLY_S = 60
"""A signature is valid from so long before: clocks differ."""
_VALID_S = 3600
_SIGNED_HEADERS = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-length", "content-md5"}
    | {"content-type", "expires", "host", "if-match", "if-none-match", "range"}
)


def encode(text: str, safe: str = _SAFE) -> str:
    """Percent-encode `text` as COS wants it."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)


def encode_path(path: str) -> str:
    """Percent-encode a path, keeping its slashes, but for those that HTTP stacks would drop.

    `./` goes out as `.%2F`, as the SDK sends it: proxies take `/./` and `/../` out of paths.
    """
    return encode(path, "/" + _SAFE).replace("./", ".%2F")


def wire_query(query: Iterable[tuple[str, str]]) -> str:
    """Return a query string with its question mark; empty where there is no query."""
    pairs = [f"{encode(name)}={encode(value)}" if value else encode(name) for name, value in query]
    return "?" + "&".join(pairs) if pairs else ""


class Signer:
    """Signs requests of one key pair; cheap to use from many threads at once."""

    def __init__(self, secret_id: str, secret_key: str, token: str | None = None) -> None:
        self._secret_id = secret_id
        self._secret_key = secret_key.encode()
        self._token = token

    def headers(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
        now_s: float,
    ) -> dict[str, str]:
        """Return `headers` with the token and the signature added.

        `path` is decoded; names of `headers` are lower-case and include `host`. `now_s` is in
        seconds since 1970. The signature holds for an hour.
        """
        sent = dict(headers)
        if self._token is not None:
            sent[TOKEN_HEADER] = self._token
        signed = {name: value for name, value in sent.items() if _is_signed(name)}
        key_time = f"{int(now_s) - _EARLY_S};{int(now_s) + _VALID_S}"
        fields = self._fields(method, path, query, signed, key_time)
        sent["authorization"] = "&".join(f"{name}={value}" for name, value in fields)
        return sent

    def presigned_query(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
        *,
        expires_s: int,
        now_s: float,
    ) -> str:
        """Return the query string that lets anybody do this one request for `expires_s` seconds.

        `headers` (with `host`) have to be sent along with it.
        """
        key_time = f"{int(now_s) - _EARLY_S};{int(now_s) + expires_s}"
        query = list(query)
        pairs = self._fields(method, path, query, headers, key_time) + query
        if self._token is not None:
            pairs.append((TOKEN_HEADER, self._token))
        return "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)

    def _fields(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
        key_time: str,
    ) -> list[tuple[str, str]]:
        query_names, query_text = _pairs(query)
        header_names, header_text = _pairs(headers.items())
        request = f"{method.lower()}\n{path}\n{query_text}\n{header_text}\n"
        digest = hashlib.sha1(
            request.encode("utf-8", "surrogateescape"), usedforsecurity=False
        ).hexdigest()
        key = hmac.digest(self._secret_key, key_time.encode(), "sha1").hex()
        signature = hmac.digest(key.encode(), f"sha1\n{key_time}\n{digest}\n".encode(), "sha1")
        return [
            ("q-sign-algorithm", "sha1"),
            ("q-ak", self._secret_id),
            ("q-sign-time", key_time),
            ("q-key-time", key_time),
            ("q-header-list", header_names),
            ("q-url-param-list", query_names),
            ("q-signature", signature.hex()),
        ]


def _is_signed(name: str) -> bool:
    return name in _SIGNED_HEADERS or name.startswith("x-cos-")


def _pairs(values: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return the list of names, and names with values, both in the order that is signed."""
    pairs = sorted((encode(name).lower(), encode(value)) for name, value in values)
    return (
        ";".join(name for name, _ in pairs),
        "&".join(f"{name}={value}" for name, value in pairs),
    )
