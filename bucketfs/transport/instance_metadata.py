"""MetadataService: what a cloud tells the machines that run in it about themselves.

`KeyService` is such a service, or one that everybody can reach: what gives keys to whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from bucketfs.errors import ConfigurationError, ConfusedServer, Transient
from bucketfs.transport.client import HttpClient
from bucketfs.transport.exchange import Request, Response

_TIMEOUT_S = 2.0
_FAR_TIMEOUT_S = 10.0


class KeyService:
    """Asks a service that gives keys; `name` is for messages."""

    def __init__(
        self, name: str, *, timeout_s: float = _FAR_TIMEOUT_S, is_far: bool = True
    ) -> None:
        """Make a client; `is_far`: by the proxies and authorities that the environment names."""
        self._name = name
        self._client = HttpClient(
            concurrency=1,
            connect_timeout_s=timeout_s,
            timeout_s=timeout_s,
            is_environment_trusted=is_far,
        )

    async def ask(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Response:
        """Return the answer, whatever its status. Raises: Transient, ConfusedServer."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        origin = f"{parts.scheme}://{parts.netloc}"
        request = Request(method, origin, target, parts.netloc, headers or {}, body)
        return await self._client.send(request)

    async def find(self, url: str) -> Response | None:
        """Return the answer of status 200 with a body; None where nothing is, or no such service.

        Most machines are no instances of the cloud: no answer at all says just that.
        """
        try:
            answer = await self.ask(url)
        except (Transient, ConfusedServer):
            return None
        return answer if answer.status == 200 and answer.body.strip() else None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return what must be there. Raises: Transient, ConfusedServer, ConfigurationError."""
        return self.checked(await self.ask(url, headers))

    def checked(self, answer: Response) -> bytes:
        """Return the body of an answer of status 200. Raises: Transient, ConfigurationError."""
        if answer.status == 200:
            return answer.body
        said = f"{self._name} answered {answer.status}"
        if answer.status >= 500 or answer.status == 429:
            raise Transient(said, throttled=answer.status == 429)
        raise ConfigurationError(said)

    async def aclose(self) -> None:
        """Close its connections and end its threads."""
        await self._client.aclose()


class MetadataService(KeyService):
    """Asks a service that only machines of one cloud can reach, and soon."""

    def __init__(self, name: str) -> None:
        super().__init__(name, timeout_s=_TIMEOUT_S, is_far=False)
