"""What the calls of all dialects have in common: who sends them, and what their failures say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from bucketfs.errors import AccessDenied, ConfigurationError, StorageError
from bucketfs.storage.interface import Sink
from bucketfs.transport.exchange import Intake, Response

TakeBody = Callable[[Response], Intake | None]
"""Says, with the head of an answer, where its body goes."""


_FEW_BYTES = 256 << 10

_NAMES = {"read": "read_range", "list": "list_page"}


def counted_as(method: str, operation: str) -> str:
    """Return the name by which the meter counts a request: that of the store's own method.

    A look at an object is one, whatever it is made for.
    """
    return "stat" if method == "HEAD" else _NAMES.get(operation, operation)


class Sender(Protocol):
    """Sends requests of a dialect that talks in S3's way: its `Calls`."""

    async def send(
        self,
        method: str,
        operation: str,
        key: str | None,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request; return its answer of status 2xx. Raises: StorageError."""


@contextmanager
def told(operation: str, key: str | None) -> Iterator[None]:
    """Let every error within say what was asked, and of which key (None: of the bucket).

    What a person has to correct is a ConfigurationError for the operation "check", AccessDenied
    later: then nobody is asked.
    """
    try:
        yield
    except StorageError as exc:
        exc.key, exc.operation = exc.key or key, exc.operation or operation
        raise
    except ConfigurationError as exc:
        if operation == "check":
            raise
        raise AccessDenied(str(exc), key=key, operation=operation) from exc


def is_success(response: Response) -> bool:
    """Return whether the server did what it was asked to."""
    return 200 <= response.status < 300


class Taking:
    """A `TakeBody` that is at hand where its sink is, and there is little to take."""

    def __init__(self, take: TakeBody, sink: Sink, length: int) -> None:
        self._take = take
        self.is_at_hand = length <= _FEW_BYTES and getattr(sink, "is_at_hand", False)

    def __call__(self, head: Response) -> Intake | None:
        """Say where the body goes."""
        return self._take(head)


class _OnlySuccess:
    """A `TakeBody` that is kept from answers that are refusals."""

    def __init__(self, take: TakeBody) -> None:
        self._take = take
        self.is_at_hand = getattr(take, "is_at_hand", False)

    def __call__(self, head: Response) -> Intake | None:
        """Say where the body goes."""
        return self._take(head) if is_success(head) else None


def only_success(intake: TakeBody | None) -> TakeBody | None:
    """Return `intake` kept from answers that are refusals."""
    return None if intake is None else _OnlySuccess(intake)


def page_query(
    prefix: str, delimiter: str, marker: tuple[str, str | None]
) -> list[tuple[str, str]]:
    """Return the parameters that ask for one page; `marker` has the name of its parameter."""
    pairs = [("prefix", prefix or None), ("delimiter", delimiter or None), marker]
    return [(name, value) for name, value in pairs if value is not None]
