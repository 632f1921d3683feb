"""AWS Signature Version 4 for S3: pure, no I/O.

Written against the canonical form in the AWS General Reference ("Signature Version 4 signing
process"); for S3 the path is encoded once and never normalised.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_SAFE = "-_.~"


def encode(text: str, safe: str = _SAFE) -> str:
    """Percent-encode `text` as SigV4 wants it; surrogate escapes become their bytes."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)


def encode_path(path: str) -> str:
    """Percent-encode a path, keeping its slashes."""
    return encode(path, "/" + _SAFE)


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the query string in the order and encoding that is signed."""
    return "&".join(
        f"{name}={value}" for name, value in sorted((encode(k), encode(v)) for k, v in pairs)
    )


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], payload_hash: str
) -> tuple[str, str]:
    """Return the canonical request, and the list of the headers that it signs.

    `path` and `query` are encoded; the names of `headers` are lower-case.
    """
    names = sorted(headers)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    signed = ";".join(names)
    return f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload_hash}", signed


class Signer:
    """Signs requests of one key pair for one region; cheap to use from many threads at once."""

    def __init__(
        self, access_key: str, secret_key: str, region: str, session_token: str | None = None
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._session_token = session_token
        self._of_day: tuple[str, bytes] = ("", b"")

    def headers(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        payload_hash: str,
        now_s: float,
    ) -> dict[str, str]:
        """Return `headers` with the date, token, payload hash and signature added.

        `headers` have lower-case names and all are signed: they must include `host`. `now_s` is in
        seconds since 1970.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        signed_headers = {**headers, "x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
        if self._session_token is not None:
            signed_headers["x-amz-security-token"] = self._session_token
        canonical, names = canonical_request(method, path, query, signed_headers, payload_hash)
        scope = self._scope(stamp)
        signed_headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={self._signature(canonical, stamp, scope)}"
        )
        return signed_headers

    def presigned_query(
        self, method: str, path: str, query: Iterable[tuple[str, str]], host: str, *,
        expires_s: int, now_s: float,
    ) -> str:  # fmt: skip
        """Return the query string that lets anybody do this one request for `expires_s` seconds."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        scope = self._scope(stamp)
        pairs = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self._access_key}/{scope}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires_s)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        if self._session_token is not None:
            pairs.append(("X-Amz-Security-Token", self._session_token))
        encoded = canonical_query(pairs)
        canonical, _ = canonical_request(method, path, encoded, {"host": host}, UNSIGNED_PAYLOAD)
        return f"{encoded}&X-Amz-Signature={self._signature(canonical, stamp, scope)}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self._region}/s3/aws4_request"

    def _signature(self, canonical: str, stamp: str, scope: str) -> str:
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        return hmac.digest(self.signing_key(stamp[:8]), text.encode(), "sha256").hex()

    def signing_key(self, day: str) -> bytes:
        """Return the key of a day (yyyymmdd); the last one is remembered."""
        known_day, key = self._of_day
        if known_day != day:
            key = f"AWS4{self._secret_key}".encode()
            for text in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, text.encode(), "sha256")
            self._of_day = (day, key)
        return key
