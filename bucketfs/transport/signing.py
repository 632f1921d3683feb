"""SigningClient: requests signed with the credentials of the moment, whatever the signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import Request, Response

S = TypeVar("S")


class SigningClient(Generic[S]):
    """Sends requests that a signer of kind `S` signs, and once more with fresh credentials.

    `make_signer` is called when the credentials change.
    """

    def __init__(
        self,
        client: HttpClient,
        credentials: CredentialSource,
        make_signer: Callable[[Credentials], S],
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._make_signer = make_signer
        self._signer: tuple[Credentials, S] | None = None

    async def send(
        self,
        request: Request,
        sign: Callable[[S, Request], Mapping[str, str]],
        has_expired: Callable[[Response], bool],
    ) -> Response:
        """Send `request` and return its answer.

        `sign` makes its headers, in the worker thread. Where `has_expired` says of the answer that
        other credentials may make the difference, and there are others, it is sent a second time.
        Raises: ConfigurationError (there are no credentials), Transient, ConfusedServer.
        """
        is_second = False
        while True:
            credentials = await self._credentials.get()
            signer = self._signer_of(credentials)

            def signed(request: Request, signer: S = signer) -> Mapping[str, str]:
                return sign(signer, request)

            response = await self._client.send(request, signed)
            if is_second or not has_expired(response):
                return response
            if not self._credentials.invalidate(credentials):
                return response
            is_second = True

    def _signer_of(self, credentials: Credentials) -> S:
        if self._signer is None or self._signer[0] is not credentials:
            self._signer = (credentials, self._make_signer(credentials))
        return self._signer[1]
