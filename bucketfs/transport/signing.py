"""SigningClient: requests signed with the credentials of the moment, whatever the signature."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import Intake, Request, Response

S = TypeVar("S")

_SENDINGS = 3
"""Keys that are good for seconds may end once more while a request waits for its turn."""
_TESTIMONY_S = 1.0
"""What was found out about keys by a second question holds for so long."""


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
        self._testimony: tuple[Credentials, float, Blame] | None = None

    async def signer(self) -> S:
        """Return a signer of the credentials of the moment. Raises: as `send`."""
        return self._signer_of(await self._credentials.get())

    async def send(
        self,
        attempt: Callable[[S], Awaitable[Response]],
        blame: Callable[[Response], Blame],
        witness: Callable[[S], Awaitable[Response]] | None = None,
    ) -> Response:
        """Return the answer of `attempt(signer)`, the first that `blame` finds no fault with.

        Where there are no other credentials than the refused ones, it is the refusal. `witness`
        asks the same in a way whose refusal says why, where that of `attempt` cannot.
        Raises: ConfigurationError (there are no credentials), Transient, what `attempt` raises.
        """
        credentials = await self._credentials.get()
        for number in range(1, _SENDINGS + 1):
            response = await attempt(self._signer_of(credentials))
            fault = blame(response)
            if fault is Blame.ELSEWHERE or number == _SENDINGS:
                break
            if fault is Blame.PERHAPS_KEYS and witness is not None:
                fault = await self._asked_again(credentials, witness, blame)
            is_certain = fault is Blame.KEYS
            other = await self._credentials.replace(credentials, is_certain=is_certain)
            if other is None:
                break
            credentials = other
        return response

    async def _asked_again(
        self,
        credentials: Credentials,
        witness: Callable[[S], Awaitable[Response]],
        blame: Callable[[Response], Blame],
    ) -> Blame:
        """Return whether it is the credentials; a forbidden object is not asked about each time."""
        known, now_s = self._testimony, time.monotonic()
        if known is not None and known[0] is credentials and now_s - known[1] < _TESTIMONY_S:
            return known[2]
        found = blame(await witness(self._signer_of(credentials)))
        fault = Blame.KEYS if found is Blame.KEYS else Blame.PERHAPS_KEYS
        self._testimony = (credentials, now_s, fault)
        return fault

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

        async def ask(asked: Request, signer: S) -> Response:
            def signed(request: Request) -> Mapping[str, str]:
                return sign(signer, request)

            return await self._client.send(asked, signed)

        if request.method != "HEAD":
            return await self._renewal.send(partial(ask, request), blame)
        # The answer to a HEAD has no body that could say why.
        headers = {**request.headers, "range": "bytes=0-0"}
        told = replace(request, method="GET", headers=headers, intake=_nothing_of_success)
        return await self._renewal.send(partial(ask, request), blame, partial(ask, told))


class _Nowhere:
    """A sink that takes nothing."""

    def room(self) -> memoryview:
        """Return no room: the exchange ends."""
        return memoryview(b"")

    def advance(self, count: int) -> None:
        """Never called."""


def _nothing_of_success(head: Response) -> Intake | None:
    return Intake(_Nowhere(), 1) if head.status < 300 else None
