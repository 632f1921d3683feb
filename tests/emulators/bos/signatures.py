"""Verifying bce-auth-v1 as its documents describe it; written apart from the product's signer."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

from tests.emulators.bos.answers import Refusal, seconds_of
from tests.emulators.serving import Ask

SKEW_S = 900
_AUTHORIZATION = re.compile(
    r"bce-auth-v1/(?P<key>[^/]+)/(?P<stamp>[^/]+)/(?P<life>-?\d+)/(?P<names>[^/]*)/(?P<sign>[0-9a-f]+)"
)
_DEFAULT = ("host", "content-length", "content-type", "content-md5")
_TOKEN = "x-bce-security-token"


def verify(ask: Ask, secrets: Mapping[str, str], tokens: Mapping[str, float], now_s: float) -> None:
    """Raise Refusal unless the request is signed. `tokens`: session tokens and when they end."""
    text = ask.headers.get("authorization") or ask.parameter("authorization")
    if text is None:
        raise Refusal("AccessDenied", "no authorization")
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise Refusal("InvalidHTTPAuthHeader")
    secret = secrets.get(found["key"])
    if secret is None:
        raise Refusal("InvalidAccessKeyId")
    names = tuple(found["names"].split(";")) if found["names"] else ()
    if names and "host" not in names:
        raise Refusal("InvalidHTTPAuthHeader", "Host is not signed")
    prefix = text.split("/" + found["names"] + "/", 1)[0] if names else text.rsplit("//", 1)[0]
    key = hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    expected = hmac.new(key.encode(), canonical(ask, names).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, found["sign"]):
        raise Refusal("SignatureDoesNotMatch", f"canonical request: {canonical(ask, names)!r}")
    _check_time(ask, seconds_of(found["stamp"]), int(found["life"]), now_s)
    token = ask.headers.get(_TOKEN) or ask.parameter(_TOKEN)
    if token is not None and tokens.get(token, 0) <= now_s:
        raise Refusal("InvalidSessionToken")


def canonical(ask: Ask, names: tuple[str, ...]) -> str:
    """Return the canonical request; no `names`: the default set is signed."""
    query = sorted(
        f"{_encode(name)}={_encode(value)}"
        for name, value in ask.query
        if name.lower() != "authorization"
    )
    lines = []
    for name, value in ask.headers.items():
        is_meant = name in names if names else name in _DEFAULT or name.startswith("x-bce-")
        trimmed = value.encode("latin-1").strip()
        if is_meant and trimmed:
            lines.append(f"{_encode(name)}:{quote_from_bytes(trimmed, safe='-_.~')}")
    path = quote_from_bytes(ask.path, safe="/-_.~")
    return "\n".join([ask.method, path, "&".join(query), "\n".join(sorted(lines))])


def _encode(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="-_.~")


def _check_time(ask: Ask, signed_s: float, life_s: int, now_s: float) -> None:
    if signed_s > now_s + SKEW_S or (life_s != -1 and now_s > signed_s + life_s):
        raise Refusal("RequestExpired")
    date = ask.headers.get("x-bce-date")
    if date is not None and abs(seconds_of(date) - now_s) > SKEW_S:
        raise Refusal("RequestExpired")
