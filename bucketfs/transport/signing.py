"""SigningClient: requests signed with the credentials of the moment, whatever the signature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import Request, Response

S = TypeVar("S")

_SENDINGS = 3
"""Keys that are good for seconds may end once more while a request waits for its turn."""


class Blame(Enum):
    """What a refusal is due to, as far as its answer tells."""

    ELSEWHERE = "no other credentials would help"
    PERHAPS_KEYS = "it may be the credentials, or what was asked"
    KEYS = "the credentials"


class Renewal(Generic[S]):
    """Lets what is sent be signed once more with other credentials, where these were refused.

    `make_signer` is called when the credentials change.
    """

    def __init__(
        self, credentials: CredentialSource, make_signer: Callable[[Credentials], S]
    ) -> None:
        self._credentials = credentials
        self._make_signer = make_signer
        self._signer: tuple[Credentials, S] | None = None

    async def signer(self) -> S:
        """Return a signer of the credentials of the moment. Raises: as `send`."""
        return self._signer_of(await self._credentials.get())

    async def send(
        self, attempt: Callable[[S], Awaitable[Response]], blame: Callable[[Response], Blame]
    ) -> Response:
        """Return the answer of `attempt(signer)`, the first that `blame` finds no fault with.

        Where there are no other credentials than the refused ones, it is the refusal.
        Raises: ConfigurationError (there are no credentials), Transient, what `attempt` raises.
        """
        credentials = await self._credentials.get()
        for number in range(1, _SENDINGS + 1):
            response = await attempt(self._signer_of(credentials))
            fault = blame(response)
            if fault is Blame.ELSEWHERE or number == _SENDINGS:
                break
            is_certain = fault is Blame.KEYS
            other = await self._credentials.replace(credentials, is_certain=is_certain)
            if other is None:
                break
            credentials = other
        return response

    def _signer_of(self, credentials: Credentials) -> S:
        known = self._signer
        if known is None or known[0] is not credentials:
            known = self._signer = (credentials, self._make_signer(credentials))
        return known[1]


class SigningClient(Generic[S]):
    """Sends requests that a signer of kind `S` signs, and again with other credentials."""

    def __init__(
        self,
        client: HttpClient,
        credentials: CredentialSource,
        make_signer: Callable[[Credentials], S],
    ) -> None:
        self._client = client
        self._renewal = Renewal(credentials, make_signer)

    async def send(
        self,
        request: Request,
        sign: Callable[[S, Request], Mapping[str, str]],
        blame: Callable[[Response], Blame],
    ) -> Response:
        """Send `request` and return its answer.

        `sign` makes its headers, in the worker thread. Where `blame` says of the answer that
        other credentials may make the difference, and there are others, it is sent again.
        Raises: ConfigurationError (there are no credentials), Transient, ConfusedServer.
        """

        async def attempt(signer: S) -> Response:
            def signed(request: Request) -> Mapping[str, str]:
                return sign(signer, request)

            return await self._client.send(request, signed)

        return await self._renewal.send(attempt, blame)
