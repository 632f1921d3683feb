"""Libcloud's drivers for one mount: what each can do, and a pool that lends one to a thread.

A driver is not thread-safe (one connection, one "current action"), and its exceptions often say
less than the server did: S3's `get_object` calls any answer but 200 "does not exist". So each
driver here has a wire that remembers the last answer, for `refusals` to read.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from libcloud.common.types import MalformedResponseError
from libcloud.http import LibcloudConnection
from libcloud.storage.base import StorageDriver

from bucketfs.counting.meter import Meter
from bucketfs.storage.calling import counted_as
from bucketfs.transport.exchange import Response

STREAM_PART_BYTES = 5 << 20
"""What the S3 family's `upload_object_via_stream` sends in one request."""

_MOST_STREAM_PARTS = 10_000
_MOST_PUT_BYTES = 5 << 30


@dataclass(frozen=True, slots=True)
class Traits:
    """What a driver does, as far as its class tells.

    `is_local`: files of this machine, written in place; no metadata, and no key may end with `/`.
    `has_parts`: streams are sent in parts, as large as S3 takes them. `vendor_prefix` begins the
    headers of user metadata, None where only the driver knows them.
    """

    provider: str
    is_local: bool
    has_ranges: bool
    has_parts: bool
    vendor_prefix: str | None

    @property
    def keeps_metadata(self) -> bool:
        """Return whether what stands beside an object's bytes is kept."""
        return not self.is_local

    @property
    def max_object(self) -> int:
        """Return the bytes of the largest object that can be written."""
        if self.is_local:
            return 1 << 60
        return _MOST_STREAM_PARTS * STREAM_PART_BYTES if self.has_parts else _MOST_PUT_BYTES

    @property
    def max_write(self) -> int:
        """Return the most bytes of `upload_object`."""
        return self.max_object if self.is_local else _MOST_PUT_BYTES


def traits_of(provider: str, driver_class: Any) -> Traits:
    """Return what drivers of a class can do."""
    ranged = driver_class.download_object_range_as_stream
    is_local = provider == "local"
    return Traits(
        provider=provider,
        is_local=is_local,
        # The local driver reads the whole file into memory for each range of it.
        has_ranges=ranged is not StorageDriver.download_object_range_as_stream and not is_local,
        has_parts=bool(getattr(driver_class, "supports_s3_multipart_upload", False)),
        vendor_prefix=getattr(driver_class, "http_vendor_prefix", None),
    )


class Wire(LibcloudConnection):
    """Libcloud's HTTP connection, with what it lacks.

    A timeout, proxies and CA bundles of the environment also for raw requests; empty files sent as
    such (they went chunked, which S3 refuses); bodies as they stand in the bucket, not unpacked;
    UTF-8 where no charset is said; no entities in XML; an end to listings that ask for one page
    again and again; and `meter` counts each request.
    """

    def __init__(
        self, host: str, port: int, secure: Any = None, *, meter: Meter, **settings: Any
    ) -> None:
        super().__init__(host, port, secure=secure, **settings)  # type: ignore[no-untyped-call]
        self.answer: Any = None
        self._meter = meter
        self._operation = "other"
        self._asked: str | None = None
        session: Any = self.session
        self._timeout_s = session.timeout
        self._merged_with_environment = session.merge_environment_settings
        self._send_plainly = session.send
        session.send = self._send

    def begin(self, operation: str) -> None:
        """Forget the last answer: a new call of the driver begins, for an operation."""
        self.answer = self._asked = None
        self._operation = operation

    def _send(self, request: Any, **settings: Any) -> Any:
        operation = counted_as(request.method, self._operation)
        with self._meter.counting(operation) as asked:
            asked.sent_bytes = int(request.headers.get("Content-Length") or 0)
            answer = self._send_uncounted(request, settings)
            asked.answered(answer.status_code)
            if request.method != "HEAD":
                # As announced: what is left of a stream that nobody reads to its end counts, too.
                asked.received_bytes = int(answer.headers.get("Content-Length") or 0)
            return answer

    def _send_uncounted(self, request: Any, settings: dict[str, Any]) -> Any:
        is_same = request.method == "GET" and request.url == self._asked
        if is_same and self.answer is not None and self.answer.status_code == 200:
            raise MalformedResponseError("the listing does not go on")
        self.answer, self._asked = None, request.url
        if _is_empty_file(request.body):
            request.headers.pop("Transfer-Encoding", None)
            request.body, request.headers["Content-Length"] = b"", "0"
        settings.setdefault("timeout", self._timeout_s)
        settings.update(self._connecting(request.url, settings))
        answer = self._send_plainly(request, **settings)
        self.answer = answer
        if settings.get("stream"):
            answer.raw.headers.discard("content-encoding")
            return answer
        if "charset" not in answer.headers.get("content-type", ""):
            answer.encoding = "utf-8"
        if b"<!ENTITY" in answer.content:
            raise MalformedResponseError("the answer defines XML entities")
        return answer

    def _connecting(self, url: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return how to connect; a CA bundle of the environment comes before Libcloud's own."""
        proxies = settings.get("proxies") or {}
        stream, verify, cert = (settings.get(name) for name in ("stream", "verify", "cert"))
        found: dict[str, Any] = self._merged_with_environment(url, proxies, stream, True, cert)
        if found["verify"] is True or verify is False:
            found["verify"] = verify
        return found


def _is_empty_file(body: Any) -> bool:
    return hasattr(body, "fileno") and os.fstat(body.fileno()).st_size == 0


class Place:
    """The container that all drivers of a mount share, once one of them has found it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: Any = None


class Lease:
    """One driver with its container, in the hands of one thread."""

    def __init__(self, driver: Any, place: Place, timeout_s: float, meter: Meter) -> None:
        self.driver = driver
        self._place = place
        self._is_placed = False
        connection = driver.connection
        # Some drivers keep the host in the connection's class, where others overwrite it.
        connection.host = connection.host
        connection.timeout = timeout_s
        connection.conn_class = partial(Wire, meter=meter)
        connection.connect()

    @property
    def container(self) -> Any:
        """Return the container, asked for once. Raises: ContainerDoesNotExistError."""
        if self._place.found is None:
            self._place.found = self.driver.get_container(self._place.name)
        container = self._place.found
        if not self._is_placed:
            # Drivers look at the container before each object: one request more for each stat.
            self.driver.get_container = lambda container_name: container
            self._is_placed = True
        return container

    def begin(self, operation: str) -> None:
        """Forget the last answer: what is asked for next is of this operation."""
        wire = self._wire()
        if wire is not None:
            wire.begin(operation)

    @property
    def head(self) -> Response | None:
        """Return the last answer without its body; None where none came (yet), or without HTTP."""
        wire = self._wire()
        if wire is None or wire.answer is None:
            return None
        headers = {name.lower(): value for name, value in wire.answer.headers.items()}
        return Response(wire.answer.status_code, headers)

    def body(self) -> bytes:
        """Return the body of the last answer, as far as it can be had."""
        wire = self._wire()
        try:
            content = wire.answer.content if wire is not None and wire.answer is not None else b""
        except (OSError, RuntimeError):
            return b""
        return content or b""

    def hang_up(self) -> None:
        """Drop the rest of an answer that is not read to its end."""
        wire = self._wire()
        if wire is not None and wire.answer is not None:
            wire.answer.close()

    def _wire(self) -> Wire | None:
        # Drivers that log in elsewhere first connect anew by themselves.
        wire = self.driver.connection.connection
        return wire if isinstance(wire, Wire) else None


class DriverPool:
    """Drivers of one container. Methods may be called in any thread."""

    def __init__(
        self,
        make: Callable[[], Any],
        container_name: str,
        *,
        timeout_s: float = 60.0,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter or Meter()
        self._make = make
        self._place = Place(container_name)
        self._timeout_s = timeout_s
        self._idle: deque[Lease] = deque()

    def prepare(self) -> None:
        """Make a first driver, to hear whether that is possible. Raises: ConfigurationError."""
        self.give(self.take())

    def take(self) -> Lease:
        """Return a driver that is the caller's until `give`. Raises: ConfigurationError."""
        try:
            return self._idle.pop()
        except IndexError:
            return Lease(self._make(), self._place, self._timeout_s, self._meter)

    def give(self, lease: Lease) -> None:
        """Take a driver back."""
        self._idle.append(lease)

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Lend a driver for the block."""
        lease = self.take()
        try:
            yield lease
        finally:
            self.give(lease)

    def close(self) -> None:
        """Close the connections of all drivers that are not lent."""
        while self._idle:
            connection = self._idle.pop().driver.connection.connection
            if connection is not None:
                connection.session.close()
