"""Copies, renames and changes of metadata, all done by Kodo itself."""

from __future__ import annotations

from dataclasses import replace

from bucketfs.errors import InvalidRequest, ObjectChanged, StorageError
from bucketfs.storage.headers import seconds_ns
from bucketfs.storage.interface import (
    ABSENT,
    ObjectAttributes,
    ObjectInfo,
    Precondition,
    Version,
)
from bucketfs.storage.kodo.batches import send_batch
from bucketfs.storage.kodo.calls import Calls, check_key
from bucketfs.storage.kodo.documents import stat_info
from bucketfs.storage.kodo.metadata import content_type_of, fields_of
from bucketfs.storage.kodo.preconditions import Guard, Stat
from bucketfs.transport.sign_kodo import encode, entry


class Copier:
    """Copies and moves objects of one bucket."""

    def __init__(self, calls: Calls, guard: Guard, stat: Stat) -> None:
        self._calls = calls
        self._guard = guard
        self._stat = stat

    async def copy(
        self,
        source: str,
        target: str,
        attributes: ObjectAttributes | None,
        source_version: Version | None,
        precondition: Precondition | None,
    ) -> ObjectInfo:
        """Copy, any size; other `attributes` are set right after it.

        Raises: ObjectNotFound, ObjectChanged, ObjectExists.
        """
        check_key(source, "copy")
        check_key(target, "copy")
        await self._guard.check(target, precondition)
        info = await self._known(source)
        if source_version not in (None, info.version):
            raise ObjectChanged("the source was replaced", key=source, operation="copy")
        if source == target:
            if attributes is None:
                raise InvalidRequest("a copy onto itself changes nothing", key=source)
            return await self._change(info, attributes)
        is_insert = precondition == ABSENT
        self._guard.forget(target)
        response = await self._calls.manage(
            "rs",
            "copy",
            target if is_insert else source,
            f"/copy/{self._entry(source)}/{self._entry(target)}/force/{str(not is_insert).lower()}",
            is_repeatable=not is_insert,
        )
        copied = replace(info, key=target, modified_ns=seconds_ns(response.headers.get("date")))
        if attributes is not None:
            return await self._change(copied, attributes)
        return self._guard.wrote(copied)

    async def move(self, source: str, target: str) -> ObjectInfo:
        """Rename, replacing `target`: one request that tells what was moved as well.

        Raises: ObjectNotFound.
        """
        check_key(source, "move")
        check_key(target, "move")
        if source == target:
            return await self._stat(source)
        origin, place = self._entry(source), self._entry(target)
        self._guard.forget(source)
        self._guard.forget(target)
        told, moved = await send_batch(
            self._calls,
            "move",
            source,
            [f"stat/{origin}", f"move/{origin}/{place}/force/true"],
            is_repeatable=False,
        )
        if not moved.is_done:
            raise moved.error("move", source)
        self._guard.is_absent(source)
        # Nothing says that the operations of a batch are done one after the other.
        info = stat_info(target, told.data) if told.is_done else await self._stat(target)
        return self._guard.wrote(info)

    async def _known(self, key: str) -> ObjectInfo:
        recent = self._guard.written(key)
        return recent if recent is not None else await self._stat(key)

    async def _change(self, info: ObjectInfo, attributes: ObjectAttributes) -> ObjectInfo:
        """Set the attributes of an object if it still is the version in `info`."""
        fields = fields_of(attributes, info.metadata or {})
        segments = [f"mime/{encode(content_type_of(attributes))}"]
        segments += [f"{name}/{encode(value)}" for name, value in fields.items()]
        segments.append(f"cond/{encode(f'hash={info.version}')}")
        self._guard.forget(info.key)
        try:
            await self._calls.manage(
                "rs", "copy", info.key, f"/chgm/{self._entry(info.key)}/{'/'.join(segments)}"
            )
        except (InvalidRequest, ObjectChanged) as exc:
            # Which status a failed condition has is not documented: the object itself tells.
            await self._raise_if_changed(info, exc)
            raise
        return self._guard.wrote(
            replace(
                info,
                metadata=dict(attributes.metadata),
                content_type=attributes.content_type,
            )
        )

    async def _raise_if_changed(self, info: ObjectInfo, exc: StorageError) -> None:
        found = await self._stat(info.key)
        if found.version != info.version:
            raise ObjectChanged("the object was replaced", key=info.key, operation="copy") from exc

    def _entry(self, key: str) -> str:
        return entry(self._calls.bucket, key)
