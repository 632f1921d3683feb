"""Who asks: verifies the q-sign of a request, from header or query, against what came.

Written from the vendor's document, apart from bucketfs's own signer; the official SDK's requests
pass it (test_cos_sdk.py), and each way of tampering with one is refused there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from tests.emulators.cos.refusals import Refused
from tests.emulators.serving import Ask

ALL_RIGHTS = frozenset({"list", "read", "write", "delete"})


@dataclass
class Account:
    """A key pair that the cloud knows. `token`: it is temporary, and good until `expires_s`."""

    secret_id: str
    secret_key: str
    token: str | None = None
    expires_s: float | None = None
    rights: frozenset[str] = field(default=ALL_RIGHTS)


def verify(ask: Ask, accounts: Mapping[str, Account], now_s: float) -> Account:
    """Return whose request it is. Raises: Refused."""
    fields = _fields(ask)
    account = accounts.get(fields.get("q-ak", ""))
    if account is None:
        raise Refused(403, "InvalidAccessKeyId", "The Access Key Id is not known.")
    begins, _, ends = fields.get("q-sign-time", "").partition(";")
    if not (begins.isdigit() and ends.isdigit()) or fields.get("q-key-time") is None:
        raise Refused(403, "AccessDenied", "The signature has no time.")
    if int(begins) > now_s:
        raise Refused(403, "RequestTimeTooSkewed", "The signature begins in the future.")
    if int(ends) < now_s:
        raise Refused(403, "AccessDenied", "Request has expired")
    if not any(_is_signed_by(account, ask, fields, host) for host in _hosts(ask)):
        raise Refused(403, "SignatureDoesNotMatch", "The Signature you specified is invalid.")
    _check_token(ask, account, now_s)
    return account


def _fields(ask: Ask) -> Mapping[str, str]:
    """Return the items of the signature. Raises: Refused (there is none, or of another kind)."""
    header = ask.headers.get("authorization", "").strip()
    fields: Mapping[str, str]
    if header:
        fields = dict(item.partition("=")[::2] for item in header.split("&"))
    else:
        fields = {name: value for name, value in ask.query if name.startswith("q-")}
    if not fields:
        raise Refused(403, "AccessDenied", "Access Denied.")
    if fields.get("q-sign-algorithm") != "sha1":
        raise Refused(403, "AccessDenied", "The signature's algorithm is not sha1.")
    return fields


def _hosts(ask: Ask) -> Iterable[str]:
    # The SDK leaves the port out where it talks to a custom domain.
    return {ask.host, ask.host.partition(":")[0]}


def _is_signed_by(account: Account, ask: Ask, fields: Mapping[str, str], host: str) -> bool:
    headers = {_encoded(name).lower(): _bytes(value) for name, value in ask.headers.items()}
    headers["host"] = host.encode()
    _, _, query = ask.target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    parameters = {_encoded(name).lower(): _bytes(value) for name, value in pairs}
    try:
        query_text = _listed(fields.get("q-url-param-list", ""), parameters)
        header_text = _listed(fields.get("q-header-list", ""), headers)
    except KeyError:
        return False  # It lists something that did not come.
    request = b"%s\n%s\n%s\n%s\n" % (
        ask.method.lower().encode(),
        ask.path,
        query_text.encode(),
        header_text.encode(),
    )
    digest = hashlib.sha1(request).hexdigest()
    sign_key = hmac.new(
        account.secret_key.encode(), fields["q-key-time"].encode(), "sha1"
    ).hexdigest()
    text = f"sha1\n{fields['q-sign-time']}\n{digest}\n"
    expected = hmac.new(sign_key.encode(), text.encode(), "sha1").hexdigest()
    return hmac.compare_digest(expected, fields.get("q-signature", ""))


def _listed(names: str, values: Mapping[str, bytes]) -> str:
    return "&".join(f"{name}={quote(values[name], safe='-_.~')}" for name in _split(names))


def _split(names: str) -> list[str]:
    return sorted(names.split(";")) if names else []


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _bytes(value: str) -> bytes:
    return value.encode("latin-1")


def _check_token(ask: Ask, account: Account, now_s: float) -> None:
    name = "x-cos-security-token"
    token = ask.headers.get(name) or ask.parameter(name)
    if account.token is None:
        return
    if token != account.token:
        raise Refused(403, "AccessDenied", "The security token is wrong.")
    if account.expires_s is not None and account.expires_s < now_s:
        raise Refused(403, "ExpiredToken", "The security token has expired.")
