"""Who may do what: management tokens, upload tokens, signed download URLs."""

from __future__ import annotations

import calendar
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from tests.emulators.kodo.answers import Refused, decoded, encoded
from tests.emulators.serving import Ask

SKEW_S = 15 * 60
FORM_TYPE = "application/x-www-form-urlencoded"


class Keys:
    """The key pairs that this cloud knows."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    def check_management(self, ask: Ask, now_s: float) -> None:
        """Check a "Qiniu" or "QBox" token. Raises: Refused."""
        kind, _, token = ask.headers.get("authorization", "").partition(" ")
        if kind == "Qiniu":
            self._check(token, _management_text(ask))
            _check_date(ask.headers.get("x-qiniu-date"), now_s)
        elif kind == "QBox":
            is_form = ask.headers.get("content-type") == FORM_TYPE
            self._check(token, ask.target.encode() + b"\n" + (ask.body if is_form else b""))
        else:
            raise Refused(401, "bad token")

    def upload_policy(self, token: str, now_s: float) -> dict[str, Any]:
        """Return the policy in an upload token. Raises: Refused."""
        pieces = token.split(":")
        if len(pieces) != 3:
            raise Refused(401, "bad token")
        self._check(":".join(pieces[:2]), pieces[2].encode())
        try:
            policy: dict[str, Any] = json.loads(decoded(pieces[2]))
        except ValueError as exc:
            raise Refused(401, "bad token") from exc
        if policy.get("deadline", 0) < now_s:
            raise Refused(401, "expired token")
        return policy

    def check_download(self, ask: Ask, now_s: float) -> None:
        """Check the signature at the end of a download URL. Raises: Refused."""
        url, found, token = f"http://{ask.host}{ask.target}".rpartition("&token=")
        if not found:
            raise Refused(401, "token not specified")
        deadline = re.search(r"[?&]e=([0-9]+)$", url)
        if deadline is None:
            raise Refused(401, "download token auth failed")
        try:
            self._check(token, url.encode("latin-1"))
        except Refused as exc:
            raise Refused(401, "download token auth failed") from exc
        if int(deadline[1]) < now_s:
            raise Refused(401, "token out of date")

    def knows(self, access_key: str) -> bool:
        """Return whether there is such a key."""
        return access_key in self._secrets

    def _check(self, token: str, data: bytes) -> None:
        access_key, _, signature = token.partition(":")
        secret = self._secrets.get(access_key)
        expected = encoded(hmac.digest((secret or "").encode(), data, "sha1"))
        if secret is None or not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Refused(401, "bad token")


def _management_text(ask: Ask) -> bytes:
    text = f"{ask.method} {ask.target}\nHost: {ask.host}"
    content_type = ask.headers.get("content-type")
    if content_type:
        text += f"\nContent-Type: {content_type}"
    for name in sorted(ask.headers):
        if re.fullmatch("x-qiniu-.+", name):
            canonical = "-".join(word.capitalize() for word in name.split("-"))
            text += f"\n{canonical}: {ask.headers[name]}"
    data = text.encode("latin-1") + b"\n\n"
    is_signed = content_type and content_type != "application/octet-stream"
    return data + ask.body if is_signed else data


def _check_date(date: str | None, now_s: float) -> None:
    if date is None:
        return
    try:
        sent_s = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError as exc:
        raise Refused(400, "bad X-Qiniu-Date") from exc
    if abs(sent_s - now_s) > SKEW_S:
        raise Refused(403, "request time skewed")
