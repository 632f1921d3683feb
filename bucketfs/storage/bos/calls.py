"""One BOS request: address, checksum, signature, refusal, a second try with fresh credentials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from bucketfs.storage.bos.checksums import SummedBody
from bucketfs.storage.bos.documents import parse_error
from bucketfs.storage.bos.headers import CRC32_HEADER
from bucketfs.storage.bos.keys import check_key
from bucketfs.storage.bos.refusals import blame, refusal
from bucketfs.storage.calling import TakeBody, counted_as, is_success, only_success, told
from bucketfs.storage.s3.addressing import Address
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import Request, Response
from bucketfs.transport.sign_bos import Signer, canonical_query
from bucketfs.transport.signing import SigningClient


class Calls:
    """Sends signed requests to one bucket.

    `traffic_limit_bits_s` bounds each request that carries an object's bytes.
    """

    def __init__(
        self,
        address: Address,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        traffic_limit_bits_s: int | None = None,
    ) -> None:
        self._address = address
        self._client = SigningClient(client, credentials, _signer_of)
        self._traffic_limit = (
            {"x-bce-traffic-limit": str(traffic_limit_bits_s)} if traffic_limit_bits_s else {}
        )

    async def send(
        self,
        method: str,
        operation: str,
        key: str | None,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | SummedBody | None = None,
        intake: TakeBody | None = None,
        is_repeatable: bool = True,
    ) -> Response:
        """Send one request about `key` (None: the bucket); return its answer of status 2xx.

        Names of `headers` are lower-case. BOS refuses an object's bytes that have another
        CRC32 than goes with them. `intake` sees only successful answers.
        Raises: every StorageError that a refusal can mean; as `told`, what a person has to correct.
        """
        if key is not None:
            check_key(key, operation, is_new=method in ("PUT", "POST"))
        signed_query = canonical_query(query)
        path = self._address.path(key)
        is_of_object = intake is not None or isinstance(body, SummedBody)
        request = Request(
            method,
            self._address.origin,
            path + _wire_query(signed_query),
            self._address.host,
            {**(headers or {}), **(self._traffic_limit if is_of_object else {})},
            body,
            only_success(intake),
            is_repeatable,
            counted_as(method, operation),
        )
        with told(operation, key):
            response = await self._send_signed(request, path, signed_query)
            if is_success(response):
                return _checked(response, body)
            raise refusal(response, method=method, operation=operation, key=key)

    def check_document(self, response: Response, operation: str, key: str) -> None:
        """Raise what an error in an answer of status 200 means.

        Copies and commits begin to answer before they are done, so their status proves nothing.
        """
        if parse_error(response.body):
            late = Response(500, response.headers, response.body)
            raise refusal(late, method="", operation=operation, key=key)

    async def _send_signed(self, request: Request, path: str, query: str) -> Response:
        def sign(signer: Signer, request: Request) -> Mapping[str, str]:
            unsigned = {**request.headers, **_body_headers(request), "host": request.host}
            signed = signer.headers(request.method, path, query, unsigned, time.time())
            del signed["host"]  # The exchange writes these two.
            signed.pop("content-length", None)
            return signed

        return await self._client.send(request, sign, blame)


def _signer_of(credentials: Credentials) -> Signer:
    return Signer(credentials.access_key, credentials.secret_key, credentials.session_token)


def _checked(response: Response, body: bytes | SummedBody | None) -> Response:
    if isinstance(body, SummedBody):
        body.check_stored(response.headers)
    return response


def _body_headers(request: Request) -> dict[str, str]:
    body = request.body
    if body is None:
        return {"content-length": "0"} if request.method in ("PUT", "POST") else {}
    if isinstance(body, SummedBody):
        return {"content-length": str(body.size), CRC32_HEADER: str(body.crc32)}
    return {"content-length": str(len(body) if isinstance(body, bytes) else body.size)}


def _wire_query(query: str) -> str:
    """Write `uploads=` as `uploads`, as the documents do; both have one signature."""
    if not query:
        return ""
    return "?" + "&".join(pair.removesuffix("=") for pair in query.split("&"))
