"""One S3 request: address, signature, refusal, and a second try with fresh credentials."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from bucketfs.errors import ConfusedServer, InvalidKey
from bucketfs.storage.calling import TakeBody, counted_as, is_success, only_success, told
from bucketfs.storage.interface import Body
from bucketfs.storage.s3.addressing import Address
from bucketfs.storage.s3.digests import Digests
from bucketfs.storage.s3.documents import parse_any
from bucketfs.storage.s3.refusals import blame, refusal
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import BodySource, Request, Response
from bucketfs.transport.sign_s3 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    canonical_query,
)
from bucketfs.transport.signing import SigningClient

Payload = Literal["signed", "unsigned", "auto"]
_MAX_KEY_BYTES = 1024
_SENDINGS = 3


class Calls:
    """Sends signed requests to one bucket.

    `payload`: whether bodies are hashed into the signature; "auto": unless nobody on the way could
    change them (TLS, or a server on this machine). The hash costs both sides a third of a second
    of CPU for each 512 MiB.
    """

    def __init__(
        self,
        address: Address,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        region: str,
        payload: Payload,
    ) -> None:
        self.address = address
        self.lacks_part_copy = False
        """Set by whoever sees that this server cannot copy parts."""
        self._region = region
        self._is_hashed = payload == "signed" or (payload == "auto" and not address.is_safe_way)
        self.digests = Digests(are_large_compared=address.is_encrypted and not self._is_hashed)
        self._client = SigningClient(client, credentials, self._signer_of)

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
        Raises: every StorageError that a refusal can mean; as `told`, without credentials and in a
        wrong region.
        """
        if key is not None:
            _check_key(key, operation)
        signed_query = canonical_query(query)
        path = self.address.path(key)
        request = Request(
            method,
            self.address.origin,
            path + _wire_query(signed_query),
            self.address.host,
            headers or {},
            body,
            only_success(intake),
            is_repeatable,
            counted_as(method, operation),
        )
        with told(operation, key):
            response = await self._send_signed(request, path, signed_query)
            if is_success(response):
                return response
            raise refusal(
                response, method=method, operation=operation, key=key, region=self._region
            )

    async def send_bytes(
        self,
        operation: str,
        key: str,
        body: Body,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> Response:
        """PUT an object's or a part's bytes; return the answer.

        What arrived as other bytes is sent again, now without `conditions`: it is our own that is
        there. Raises: as `send`; ConfusedServer (other bytes arrive every time).
        """
        query = tuple(query)
        for number in range(1, _SENDINGS + 1):
            digested = self.digests.of(body)
            response = await self.send(
                "PUT",
                operation,
                key,
                query=query,
                headers={**(headers or {}), **(conditions or {})},
                body=digested,
                is_repeatable=not conditions,
            )
            if self.digests.agrees(digested, response.headers, is_first=number == 1):
                return response
            conditions = None
        raise ConfusedServer("every time other bytes arrived", key=key, operation=operation)

    def check_document(self, response: Response, operation: str, key: str) -> None:
        """Raise what an `<Error>` in an answer of status 200 means.

        COPY and Complete begin to answer before they are done, so their status proves nothing.
        """
        root, _ = parse_any(response.body)
        if root == "Error":
            late = replace(response, status=500)
            raise refusal(late, method="", operation=operation, key=key, region=self._region)

    async def _send_signed(self, request: Request, path: str, query: str) -> Response:
        def sign(signer: Signer, request: Request) -> Mapping[str, str]:
            unsigned = {**request.headers, "host": request.host}
            digest = self._payload_hash(request.body)
            signed = signer.headers(request.method, path, query, unsigned, digest, time.time())
            del signed["host"]  # The exchange writes it, first.
            return signed

        return await self._client.send(request, sign, blame)

    def _signer_of(self, credentials: Credentials) -> Signer:
        return Signer(
            credentials.access_key, credentials.secret_key, self._region, credentials.session_token
        )

    def _payload_hash(self, body: bytes | BodySource | None) -> str:
        if body is None:
            return EMPTY_SHA256
        if not self._is_hashed:
            return UNSIGNED_PAYLOAD
        digest = hashlib.sha256()
        for piece in (body,) if isinstance(body, bytes) else body:
            digest.update(piece)
        return digest.hexdigest()


def _check_key(key: str, operation: str) -> None:
    size = len(key.encode("utf-8", "surrogateescape"))
    if not 1 <= size <= _MAX_KEY_BYTES:
        raise InvalidKey(
            f"a key has 1 to {_MAX_KEY_BYTES} bytes, this one {size}", key=key, operation=operation
        )


def _wire_query(query: str) -> str:
    """Write `uploads=` as `uploads`, as the SDKs do; both have one signature."""
    if not query:
        return ""
    return "?" + "&".join(pair.removesuffix("=") for pair in query.split("&"))
