"""One COS request: address, signature, refusal, and a second try with fresh credentials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bucketfs.errors import InvalidKey
from bucketfs.storage.calling import TakeBody, counted_as, is_success, only_success, told
from bucketfs.storage.cos.addressing import Address
from bucketfs.storage.cos.refusals import blame, refusal
from bucketfs.storage.s3.documents import parse_any
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import BodySource, Request, Response
from bucketfs.transport.sign_cos import Signer, encode_path, wire_query
from bucketfs.transport.signing import SigningClient

MAX_KEY_BYTES = 850
_WITH_DATA = frozenset({"read", "write", "append", "add_part"})
"""Operations that carry an object's bytes: COS limits the speed of these only."""
_MAKING = frozenset({"write", "append", "begin_upload", "copy"})


class Calls:
    """Sends signed requests to one bucket; `traffic_limit_bits_s` is the speed of each."""

    def __init__(
        self,
        address: Address,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        traffic_limit_bits_s: int | None = None,
    ) -> None:
        self.address = address
        self._client = SigningClient(client, credentials, _signer_of)
        self._limit: dict[str, str] = {}
        if traffic_limit_bits_s is not None:
            self._limit["x-cos-traffic-limit"] = str(traffic_limit_bits_s)

    async def send(
        self,
        method: str,
        operation: str,
        key: str | None,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | BodySource | None = None,
        intake: TakeBody | None = None,
        is_repeatable: bool = True,
    ) -> Response:
        """Send one request about `key` (None: the bucket); return its answer of status 2xx.

        Names of `headers` are lower-case. `intake` sees only successful answers.
        Raises: every StorageError that a refusal can mean; as `told`, without credentials.
        """
        if key is not None:
            _check_key(key, operation)
        pairs = list(query)
        limit = self._limit if operation in _WITH_DATA else {}
        request = Request(
            method,
            self.address.origin,
            f"/{encode_path(key or '')}{wire_query(pairs)}",
            self.address.host,
            {**(headers or {}), **limit},
            body,
            only_success(intake),
            is_repeatable,
            counted_as(method, operation),
        )
        with told(operation, key):
            response = await self._send_signed(request, f"/{key or ''}", pairs)
            if is_success(response):
                return response
            raise refusal(response, method=method, operation=operation, key=key)

    def check_document(self, response: Response, operation: str, key: str) -> None:
        """Raise what an `<Error>` in an answer of status 200 means.

        COPY and Complete begin to answer before they are done, so their status proves nothing.
        """
        root, _ = parse_any(response.body)
        if root == "Error":
            late = replace(response, status=500)
            raise refusal(late, method="", operation=operation, key=key)

    async def _send_signed(
        self, request: Request, path: str, query: list[tuple[str, str]]
    ) -> Response:
        def sign(signer: Signer, request: Request) -> Mapping[str, str]:
            unsigned = {**request.headers, "host": request.host, **_length_header(request)}
            signed = signer.headers(request.method, path, query, unsigned, time.time())
            del signed["host"]  # The exchange writes it, first, and the length, last.
            signed.pop("content-length", None)
            return signed

        return await self._client.send(request, sign, blame)


def _signer_of(credentials: Credentials) -> Signer:
    return Signer(credentials.access_key, credentials.secret_key, credentials.session_token)


def _length_header(request: Request) -> dict[str, str]:
    body = request.body
    if body is None:
        return {"content-length": "0"} if request.method in ("PUT", "POST") else {}
    return {"content-length": str(len(body) if isinstance(body, bytes) else body.size)}


def _check_key(key: str, operation: str) -> None:
    """Refuse what COS cannot hold; what others made of it may be read and deleted nevertheless."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as exc:
        raise InvalidKey("COS takes only keys in UTF-8", key=key, operation=operation) from exc
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidKey(
            f"a key of COS has 1 to {MAX_KEY_BYTES} bytes, this one {size}",
            key=key,
            operation=operation,
        )
    if key.startswith("/") and operation in _MAKING:
        raise InvalidKey("a key of COS does not begin with /", key=key, operation=operation)
