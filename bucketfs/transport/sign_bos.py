"""Baidu's bce-auth-v1 signatures: pure, no I/O.

Written against "Generate an authentication string" of Baidu AI Cloud's API reference. The path is
encoded once and never normalised. Signed are the headers that the documents call the default set
(those present of Host, Content-Length, Content-Type, Content-MD5 and all `x-bce-`), but named one
by one: a proxy that adds a header then breaks nothing.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote

DEFAULT_LIFE_S = 1800
"""How long a signature is good for; the SDKs' own value."""
TOKEN_HEADER = "x-bce-security-token"
_DATE_HEADER = "x-bce-date"
_SIGNED = frozenset({"host", "content-length", "content-type", "content-md5"})
_SIGNED_PREFIX = "x-bce-"
_SAFE = "-_.~"


def encode(text: str, safe: str = _SAFE) -> str:
    """Percent-encode `text`; surrogate escapes become their bytes."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)


def encode_path(path: str) -> str:
    """Percent-encode a path, keeping its slashes."""
    return encode(path, "/" + _SAFE)


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the query in the encoding and order that is signed; `authorization` is left out."""
    return "&".join(
        sorted(
            f"{encode(name)}={encode(value)}"
            for name, value in pairs
            if name.lower() != "authorization"
        )
    )


def canonical_headers(headers: Mapping[str, str], names: Iterable[str]) -> str:
    """Return the lines of those of `headers` that `names` has (lower-case); empty ones are none.

    Values are what goes over the wire: text of Latin-1, one character a byte.
    """
    lines = []
    for name in names:
        value = _trimmed(headers.get(name, ""))
        if value:
            lines.append(f"{encode(name)}:{quote(value, safe=_SAFE)}")
    return "\n".join(sorted(lines))


class Signer:
    """Signs requests of one key pair; cheap to use from many threads at once."""

    def __init__(self, access_key: str, secret_key: str, session_token: str | None = None) -> None:
        self._access_key = access_key
        self._secret_key = secret_key.encode()
        self._session_token = session_token

    def headers(
        self, method: str, path: str, query: str, headers: Mapping[str, str], now_s: float
    ) -> dict[str, str]:
        """Return `headers` with the date, token and signature added.

        `path` is encoded, `query` canonical; the names of `headers` are lower-case and among them
        is `host`. `now_s` is in seconds since 1970.
        """
        stamp = _stamp(now_s)
        signed = {**headers, _DATE_HEADER: stamp}
        if self._session_token is not None:
            signed[TOKEN_HEADER] = self._session_token
        names = sorted(
            name
            for name, value in signed.items()
            if (name in _SIGNED or name.startswith(_SIGNED_PREFIX)) and _trimmed(value)
        )
        signed["authorization"] = self._authorization(
            method, path, query, canonical_headers(signed, names), stamp, DEFAULT_LIFE_S, names
        )
        return signed

    def presigned_query(
        self, method: str, path: str, query: Iterable[tuple[str, str]], host: str, *,
        expires_s: int, now_s: float,
    ) -> str:  # fmt: skip
        """Return the query string that lets anybody do this one request for `expires_s` seconds."""
        pairs = list(query)
        if self._session_token is not None:
            pairs.append((TOKEN_HEADER, self._session_token))
        canonical = canonical_query(pairs)
        authorization = self._authorization(
            method,
            path,
            canonical,
            canonical_headers({"host": host}, ["host"]),
            _stamp(now_s),
            expires_s,
            ["host"],
        )
        first = f"authorization={encode(authorization)}"
        return f"{first}&{canonical}" if canonical else first

    def _authorization(
        self,
        method: str,
        path: str,
        query: str,
        header_lines: str,
        stamp: str,
        life_s: int,
        names: Iterable[str],
    ) -> str:
        prefix = f"bce-auth-v1/{self._access_key}/{stamp}/{life_s}"
        key = hmac.digest(self._secret_key, prefix.encode(), "sha256").hex()
        text = f"{method}\n{path}\n{query}\n{header_lines}"
        signature = hmac.digest(key.encode(), text.encode("ascii"), "sha256").hex()
        return f"{prefix}/{';'.join(names)}/{signature}"


def _trimmed(value: str) -> bytes:
    """Return a header's bytes without blanks around them (text would lose 0x85 and 0xA0 too)."""
    return value.encode("latin-1").strip()


def _stamp(now_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
