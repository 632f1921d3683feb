"""One request to one of Kodo's services: host, signature, refusal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from bucketfs.errors import InvalidKey, StorageError, Transient
from bucketfs.storage.calling import TakeBody, counted_as, is_success, only_success, told
from bucketfs.storage.key_order import key_bytes
from bucketfs.storage.kodo.hosts import Hosts, Service
from bucketfs.storage.kodo.refusals import blame, refusal
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials import Credentials, CredentialSource
from bucketfs.transport.exchange import BodySource, Request, Response
from bucketfs.transport.sign_kodo import Signer, encode_path
from bucketfs.transport.signing import Renewal

MAX_KEY_BYTES = 750
_UPLOAD_TOKEN_S = 6 * 3600
"""The end of an upload must come before the end of its token; slow lines take their time."""
_DOWNLOAD_STEP_S = 1800
"""URLs of one object stay the same for so long, which lets a CDN remember them; they are good for
one to two steps from now on."""


class Calls:
    """Sends signed requests about one bucket.

    `policy` is what every upload token says besides its scope (storage class, traffic limit).
    """

    def __init__(
        self,
        bucket: str,
        *,
        client: HttpClient,
        credentials: CredentialSource,
        hosts: Hosts,
        policy: Mapping[str, object],
    ) -> None:
        self.bucket = bucket
        self._client = client
        self._renewal = Renewal(credentials, _signer_of)
        self._hosts = hosts
        self._policy = policy

    async def manage(
        self,
        service: Service,
        operation: str,
        key: str | None,
        target: str,
        *,
        method: str = "POST",
        body: bytes | None = None,
        is_repeatable: bool = True,
    ) -> Response:
        """Send a management request about `key` (None: the bucket); return its answer (2xx).

        `body` is a form. Raises: every StorageError that a refusal can mean; without credentials
        and in a wrong region ConfigurationError for the operation "check", else AccessDenied.
        """
        is_look = target.startswith("/stat/")
        counted = counted_as("HEAD" if is_look else method, operation)

        async def attempt(signer: Signer) -> Response:
            host = await self._hosts.of(service, signer.access_key)

            def sign(request: Request) -> Mapping[str, str]:
                return signer.management_headers(
                    method, host.name, target, request.headers, body or b"", time.time()
                )

            request = Request(
                method,
                host.origin,
                target,
                host.name,
                body=body,
                is_repeatable=is_repeatable,
                operation=counted,
            )
            return await self._exchange(request, service, sign)

        return await self._send(attempt, operation, key, service)

    async def upload(
        self,
        method: str,
        operation: str,
        key: str,
        target: str,
        *,
        body: bytes | BodySource | None = None,
        content_type: str | None = None,
        is_insert: bool = False,
    ) -> Response:
        """Send a request of an upload of `key`, with a token in its header; return its answer.

        `is_insert`: only where no object is. Raises: StorageError, as above.
        """

        async def attempt(signer: Signer) -> Response:
            host = await self._hosts.of("up", signer.access_key)
            token = signer.upload_token(self._policy_of(key, is_insert))
            headers = {"authorization": f"UpToken {token}"}
            if content_type is not None:
                headers["content-type"] = content_type
            request = Request(
                method,
                host.origin,
                target,
                host.name,
                headers,
                body,
                is_repeatable=not is_insert,
                operation=counted_as(method, operation),
            )
            return await self._exchange(request, "up")

        return await self._send(attempt, operation, key, "up")

    async def upload_form(
        self,
        operation: str,
        key: str,
        form: Callable[[str], tuple[str, BodySource]],
        *,
        is_insert: bool = False,
    ) -> Response:
        """Send the form that `form` makes of a token (its content type and body) to upload `key`.

        Raises: StorageError, as above.
        """

        async def attempt(signer: Signer) -> Response:
            host = await self._hosts.of("up", signer.access_key)
            content_type, body = form(signer.upload_token(self._policy_of(key, is_insert)))
            headers = {"content-type": content_type}
            request = Request(
                "POST",
                host.origin,
                "/",
                host.name,
                headers,
                body,
                is_repeatable=not is_insert,
                operation=counted_as("POST", operation),
            )
            return await self._exchange(request, "up")

        return await self._send(attempt, operation, key, "up")

    async def download(
        self,
        operation: str,
        key: str,
        domain: str,
        query: str,
        headers: Mapping[str, str],
        intake: TakeBody,
    ) -> Response:
        """GET `key` from a download domain, by a URL that was just signed; return its answer (2xx).

        Only such an answer is given to `intake`. Raises: StorageError, as above.
        """

        async def attempt(signer: Signer) -> Response:
            host = self._hosts.download(domain)
            start = f"{self._hosts.scheme}://{domain}"
            url = f"{start}/{encode_path(key)}{'?' + query if query else ''}"
            deadline_s = (int(time.time()) // _DOWNLOAD_STEP_S + 2) * _DOWNLOAD_STEP_S
            target = signer.private_url(url, deadline_s)[len(start) :]
            request = Request(
                "GET",
                host.origin,
                target,
                host.name,
                headers,
                intake=only_success(intake),
                operation=counted_as("GET", operation),
            )
            return await self._exchange(request, None)

        return await self._send(attempt, operation, key, None)

    async def sources(self, operation: str) -> Sequence[str]:
        """Return the download domains that Kodo itself gave the bucket. Raises: as above."""
        with _checked(operation, None):
            return await self._hosts.sources((await self._renewal.signer()).access_key)

    async def _send(
        self,
        attempt: Callable[[Signer], Awaitable[Response]],
        operation: str,
        key: str | None,
        service: Service | None,
    ) -> Response:
        """Return the answer of an attempt, of which there are more where the keys are refused."""
        with _checked(operation, key):
            response = await self._renewal.send(attempt, blame)
            if is_success(response):
                return response
            error = refusal(response, operation=operation, key=key, is_download=service is None)
            self._note(error, service)
            raise error

    async def _exchange(
        self,
        request: Request,
        service: Service | None,
        sign: Callable[[Request], Mapping[str, str]] | None = None,
    ) -> Response:
        try:
            return await self._client.send(request, sign)
        except Transient as exc:
            self._note(exc, service)
            raise

    def _note(self, error: StorageError, service: Service | None) -> None:
        """Let the next request of `service` go to another host, where this one failed."""
        if service is not None and isinstance(error, Transient) and not error.throttled:
            self._hosts.failed(service)

    def _policy_of(self, key: str, is_insert: bool) -> Mapping[str, object]:
        policy: dict[str, object] = {
            "scope": f"{self.bucket}:{key}",
            "deadline": int(time.time()) + _UPLOAD_TOKEN_S,
            "detectMime": -1,  # The content type is as we say, even if it says nothing.
            **self._policy,
        }
        if is_insert:
            policy["insertOnly"] = 1
        return policy


def check_key(key: str, operation: str) -> None:
    """Raise InvalidKey for a key that Kodo cannot hold: empty, too long, or no UTF-8."""
    size = len(key_bytes(key))
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidKey(
            f"a key has 1 to {MAX_KEY_BYTES} bytes, this one {size}", key=key, operation=operation
        )
    if any("\ud800" <= char <= "\udfff" for char in key):
        raise InvalidKey("keys must be UTF-8 at Kodo", key=key, operation=operation)


@contextmanager
def _checked(operation: str, key: str | None) -> Iterator[None]:
    """Check the key first."""
    if key is not None:
        check_key(key, operation)
    with told(operation, key):
        yield


def _signer_of(credentials: Credentials) -> Signer:
    return Signer(credentials.access_key, credentials.secret_key)
