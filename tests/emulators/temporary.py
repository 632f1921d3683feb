"""Temporary keys of emulated clouds: who gives them out, and that nothing else is let in.

An `Issuer` is an HTTP server of its own: each request to it makes a key pair that the cloud knows
for `lifetime_s`, and answers with it, in the words of Amazon's `credential_process`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from werkzeug.wrappers import Response

from tests.emulators.bos.answers import Refusal, finish
from tests.emulators.bos.cloud import BosCloud
from tests.emulators.cos.cloud import CosEmulator
from tests.emulators.cos.signature import Account
from tests.emulators.forwarding import ForwardedS3
from tests.emulators.serving import Ask, Knobs


class Keys:
    """One key pair with its token, good until `ends_s`."""

    def __init__(self, ends_s: float) -> None:
        self.access_key = f"AK{secrets.token_hex(12)}"
        self.secret_key = f"SK{secrets.token_hex(16)}"
        self.token = f"TK{secrets.token_hex(24)}"
        self.ends_s = ends_s

    @property
    def ends(self) -> str:
        """Return the end as an ISO date."""
        return datetime.fromtimestamp(self.ends_s, UTC).isoformat()


class Issuer:
    """Gives keys to whoever asks; `add` tells the cloud of them.

    `says_end` False: the answers do not say when the keys end. `answer_with` writes them.
    """

    def __init__(
        self,
        add: Callable[[Keys], None],
        *,
        lifetime_s: float,
        says_end: bool = True,
        answer_with: Callable[[Keys], str] | None = None,
    ) -> None:
        self.knobs = Knobs()
        self.environment: Mapping[str, str] = {}
        self.issued: list[Keys] = []
        self._add = add
        self._lifetime_s = lifetime_s
        self._says_end = says_end
        self._answer_with = answer_with or self._document
        self._lock = threading.Lock()

    def make_bucket(self) -> str:
        """Return nothing: there are no buckets here."""
        return ""

    def issue(self) -> Keys:
        """Make a key pair."""
        with self._lock:
            keys = Keys(self.knobs.now_s() + self._lifetime_s)
            self._add(keys)
            self.issued.append(keys)
            return keys

    def answer(self, ask: Ask) -> Response:
        """Answer with new keys; a folder, as metadata services have them, with a role's name."""
        if ask.target.endswith("/"):
            return Response("role")
        return Response(self._answer_with(self.issue()), content_type="application/json")

    def _document(self, keys: Keys) -> str:
        values: dict[str, Any] = {
            "Version": 1,
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            "SessionToken": keys.token,
        }
        return json.dumps({**values, **({"Expiration": keys.ends} if self._says_end else {})})


def add_to_cos(cloud: CosEmulator) -> Callable[[Keys], None]:
    """Return what makes COS know keys."""

    def add(keys: Keys) -> None:
        account = Account(keys.access_key, keys.secret_key, keys.token, keys.ends_s)
        cloud.accounts[keys.access_key] = account

    return add


class TemporaryBos(BosCloud):
    """BOS that knows which token goes with which key."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Keys] = {}

    def add(self, keys: Keys) -> None:
        """Let keys in."""
        self.keys[keys.access_key] = keys
        self.secrets[keys.access_key] = keys.secret_key
        self.tokens[keys.token] = keys.ends_s

    def answer(self, ask: Ask) -> Response:
        """Answer, where the token is that of the key."""
        access_key = ask.headers.get("authorization", "//").split("/")[1]
        keys = self.keys.get(access_key)
        if keys is not None and ask.headers.get("x-bce-security-token") != keys.token:
            return finish(Refusal("InvalidSessionToken").response(), self.knobs.now_s())
        return super().answer(ask)


class TemporaryS3(ForwardedS3):
    """A server that checks no signatures, behind a check of SigV4 with temporary keys."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.keys: dict[str, Keys] = {}

    def add(self, keys: Keys) -> None:
        """Let keys in."""
        self.keys[keys.access_key] = keys

    def answer(self, ask: Ask) -> Response:
        """Send the request on, if it is signed with keys that have not ended."""
        code = self._refused(ask)
        if code is None:
            return super().answer(ask)
        status = 400 if code == "ExpiredToken" else 403  # as Amazon has it
        text = "" if ask.method == "HEAD" else f"<Error><Code>{code}</Code></Error>"
        headers = {"x-amz-request-id": secrets.token_hex(8)}
        return Response(text, status, headers, content_type="application/xml")

    def _refused(self, ask: Ask) -> str | None:
        kind, _, rest = ask.headers.get("authorization", "").partition(" ")
        fields = dict(item.strip().partition("=")[::2] for item in rest.split(","))
        access_key, _, scope = fields.get("Credential", "").partition("/")
        keys = self.keys.get(access_key)
        if kind != "AWS4-HMAC-SHA256":
            return "AccessDenied"
        if keys is None:
            return "InvalidAccessKeyId"
        expected = signature(ask, keys.secret_key, scope, fields["SignedHeaders"].split(";"))
        if not hmac.compare_digest(expected, fields["Signature"]):
            return "SignatureDoesNotMatch"
        if ask.headers.get("x-amz-security-token") != keys.token:
            return "InvalidToken"
        return "ExpiredToken" if keys.ends_s < self.knobs.now_s() else None


def signature(ask: Ask, secret_key: str, scope: str, names: list[str]) -> str:
    """Return the SigV4 signature of a request; written apart from the product's signer."""
    path, _, query = ask.target.partition("?")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    )
    headers = {**ask.headers, "host": ask.host}
    lines = [
        ask.method,
        path,
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join(headers[name].split())}" for name in names),
        "",
        ";".join(names),
        headers["x-amz-content-sha256"],
    ]
    digest = hashlib.sha256("\n".join(lines).encode("latin-1")).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = f"AWS4{secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
