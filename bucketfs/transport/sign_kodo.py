"""Signatures of Qiniu Kodo: management requests, upload tokens, private download URLs. Pure.

All are HMAC-SHA1 in URL-safe base64 with its padding. Each says something else: a management token
("Qiniu", or the older "QBox") signs one request, an upload token signs a policy of what may be
uploaded until when, and a download token signs a URL with its last second.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from urllib.parse import quote

FORM_TYPE = "application/x-www-form-urlencoded"
_UNSIGNED_BODY_TYPE = "application/octet-stream"
_SIGNED_PREFIX = "x-qiniu-"


def encode(data: bytes | str) -> str:
    """Return `data` (text: its UTF-8) in URL-safe base64 with padding, as Kodo's paths have it."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()


def entry(bucket: str, key: str | None = None) -> str:
    """Return an EncodedEntryURI: a bucket, or one key of it."""
    return encode(bucket if key is None else f"{bucket}:{key}")


def encode_path(key: str) -> str:
    """Return the path of a download URL, percent-encoded; slashes stay."""
    return quote(key.encode("utf-8", "surrogateescape"), safe="/-_.~")


class Signer:
    """Signs with one key pair; cheap to use from many threads at once."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self.access_key = access_key
        self._secret_key = secret_key.encode()

    def management_headers(
        self,
        method: str,
        host: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        now_s: float,
    ) -> dict[str, str]:
        """Return `headers` with the date, the content type and a "Qiniu" token added.

        `target` is the encoded path and query; names of `headers` are lower-case; `now_s` is in
        seconds since 1970.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        signed = {"content-type": FORM_TYPE, **headers, "x-qiniu-date": stamp}
        text = management_text(method, host, target, signed, body)
        signed["authorization"] = f"Qiniu {self._token(text)}"
        return signed

    def qbox_header(self, target: str, form: bytes = b"") -> str:
        """Return the older "QBox" Authorization of a request; `form` is its urlencoded body."""
        return "QBox " + self._token(target.encode() + b"\n" + form)

    def upload_token(self, policy: Mapping[str, object]) -> str:
        """Return the token that allows what `policy` says (`scope`, `deadline`, ...)."""
        encoded = encode(json.dumps(policy, separators=(",", ":")))
        return f"{self._token(encoded.encode())}:{encoded}"

    def private_url(self, url: str, deadline_s: int) -> str:
        """Return `url` as it is good until `deadline_s` (seconds since 1970)."""
        signed = f"{url}{'&' if '?' in url else '?'}e={deadline_s}"
        return f"{signed}&token={self._token(signed.encode())}"

    def _token(self, data: bytes) -> str:
        return f"{self.access_key}:{encode(hmac.digest(self._secret_key, data, 'sha1'))}"


def management_text(
    method: str, host: str, target: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """Return what a "Qiniu" token signs; names of `headers` are lower-case."""
    lines = [f"{method} {target}", f"Host: {host}"]
    content_type = headers.get("content-type")
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    for name in sorted(headers):
        if name.startswith(_SIGNED_PREFIX) and len(name) > len(_SIGNED_PREFIX):
            lines.append(f"{name.title()}: {headers[name]}")
    text = "\n".join(lines).encode() + b"\n\n"
    return text + body if content_type and content_type != _UNSIGNED_BODY_TYPE else text
