"""Writes: a body on the local disk, sent whole. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bucketfs.errors import ObjectNotFound, Transient
from bucketfs.storage.headers import seconds_ns
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo
from bucketfs.storage.libcloud.drivers import STREAM_PART_BYTES, DriverPool, Lease, Traits
from bucketfs.storage.libcloud.refusals import speaking
from bucketfs.storage.libcloud.spool import SpoolFile
from bucketfs.storage.libcloud.values import (
    key_of,
    modified_ns_of,
    name_of,
    upload_settings,
    version_from,
)

_CLOCK_STEP_S = 0.02
"""Times of files come from a clock that stands still for some milliseconds."""


class Writer:
    """Writes and deletes objects. Methods may be called in any threads, but of one key in one."""

    def __init__(self, pool: DriverPool, traits: Traits) -> None:
        self._pool = pool
        self._traits = traits

    def put(
        self,
        key: str,
        file: SpoolFile,
        attributes: ObjectAttributes,
        conditions: Mapping[str, str],
        operation: str,
    ) -> ObjectInfo:
        """Send a file in one request; `conditions` are further headers of it."""
        name = name_of(key, self._traits, operation)
        extra, headers = upload_settings(attributes, self._traits)
        if self._traits.vendor_prefix is not None:
            # Proved by the server before the object is replaced.
            headers["Content-MD5"] = file.content_md5()
        with self._pool.lease() as lease:
            if self._traits.is_local:
                self._wait_for_another_time(lease, key, name)
            with speaking(lease, operation, key):
                # Libcloud would compare when the object is replaced already, with ETags that are
                # often no MD5.
                made = lease.driver.upload_object(
                    file.path,
                    lease.container,
                    name,
                    extra=extra,
                    verify_hash=False,
                    headers={**headers, **conditions},
                )
                return self._info(made, lease, attributes, file.size)

    def stream(
        self, key: str, files: Sequence[SpoolFile], attributes: ObjectAttributes, operation: str
    ) -> ObjectInfo:
        """Send files one after the other as one object, in the parts that the driver makes."""
        name = name_of(key, self._traits, operation)
        extra, headers = upload_settings(attributes, self._traits)
        with self._pool.lease() as lease, speaking(lease, operation, key):
            made = lease.driver.upload_object_via_stream(
                _pieces(files), lease.container, name, extra=extra, headers=headers
            )
            return self._info(made, lease, attributes, sum(file.size for file in files))

    def delete(self, key: str) -> None:
        """Delete an object; an absent one is no error."""
        name = name_of(key, self._traits, "delete")
        with self._pool.lease() as lease:
            try:
                with speaking(lease, "delete", key):
                    self._delete(lease, name)
            except ObjectNotFound:
                return

    def _delete(self, lease: Lease, name: str) -> None:
        driver, container = lease.driver, lease.container
        try:
            is_done = driver.delete_object(_named(name, container, driver))
        except KeyError:
            # A driver that deletes by an id, which only a look at the object gives.
            is_done = driver.delete_object(driver.get_object(container.name, name))
        head = lease.head
        if is_done or (head is not None and head.status in (200, 202, 204)):
            return
        if head is not None and head.status >= 300:
            raise RuntimeError("the object was not deleted")  # `speaking` reads the status
        driver.get_object(container.name, name)  # gone: that is what was wanted
        raise PermissionError("the driver could not delete it")

    def _info(self, made: Any, lease: Lease, attributes: ObjectAttributes, size: int) -> ObjectInfo:
        """Return the info of what was written; its version is empty where the driver is silent."""
        if made.size is not None and int(made.size) != size:
            raise Transient(f"{made.size} bytes were stored, not {size}", key=made.name)
        head = lease.head
        modified_ns = modified_ns_of(made.extra or {})
        if not modified_ns and head is not None:
            modified_ns = seconds_ns(head.headers.get("date"))
        tag = (made.hash or "").strip('"')
        return ObjectInfo(
            key_of(made.name, self._traits),
            size,
            version_from(tag, modified_ns, size, self._traits),
            modified_ns,
            dict(attributes.metadata),
            attributes.content_type,
        )

    def _wait_for_another_time(self, lease: Lease, key: str, name: str) -> None:
        """Wait until a file that is replaced will have another time: its version is made of it."""
        try:
            with speaking(lease, "write", key):
                found = lease.driver.get_object(lease.container.name, name)
        except ObjectNotFound:
            return
        age_s = time.time() - modified_ns_of(found.extra) / 1e9
        if 0 <= age_s < _CLOCK_STEP_S:
            time.sleep(_CLOCK_STEP_S - age_s)


def _named(name: str, container: Any, driver: Any) -> Any:
    from libcloud.storage.base import Object

    return Object(name, 0, "", {}, {}, container, driver)


def _pieces(files: Sequence[SpoolFile]) -> Iterator[bytes]:
    for file in files:
        yield from file.pieces(STREAM_PART_BYTES)
