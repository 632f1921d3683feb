"""What the journal remembers, as values, and how they are written into its rows. Pure.

Texts that may hold bytes that are not UTF-8 (keys) are blobs or JSON in ASCII, so that surrogate
escapes come back as they were. SQLite's own text would refuse them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Part, Precondition

Range = tuple[int, int, str]
"""Start, stop, and where the bytes are: "spill", "zero", "base" or "row"."""

Column = int | str | bytes | None
Columns = Sequence[Column]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file whose bytes are not (all) in the bucket.

    `key` is where it is to be saved. `spill` is the name of its file in `spill/` of the cache
    folder, which has the "spill" ranges at their own offsets. `data` has the bytes of the "row"
    ranges: `data[start:stop]`. `base` is the version that the "base" ranges are read from.
    `expected` is what must hold at the key when it is saved. `sent` are attributes under which a
    save that was under way, or whose answer was lost, may have put it there. `is_refused`: it met
    a conflict and is not tried again by itself. Two records may have one key (a removed file and a
    new one).
    """

    number: int
    key: str
    size: int
    ranges: tuple[Range, ...]
    spill: str | None
    data: bytes | None
    base: ObjectInfo | None
    expected: Precondition | None
    attributes: ObjectAttributes
    kept_ns: int
    attempts: int = 0
    last_error: str | None = None
    is_refused: bool = False
    sent: tuple[ObjectAttributes, ...] = ()


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A finished part: bytes `start` to `stop` of its file.

    `md5` is the digest of these bytes; empty where they never were here (a part that was copied).
    """

    number: int
    start: int
    stop: int
    tag: str
    size: int
    md5: bytes

    def as_part(self) -> Part:
        """Return it as the store lists it."""
        return Part(self.number, self.tag, self.size)


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """A multipart upload that was begun with `attributes`; `parts` ascend by number."""

    upload_id: str
    key: str
    file_number: int | None
    begun_ns: int
    attributes: ObjectAttributes
    parts: tuple[PartRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Work on several objects that a mount has promised: "rename-directory", "delete"."""

    number: int
    kind: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a journal holds, ascending by number (uploads: by when they were begun)."""

    store_url: str
    files: tuple[FileRecord, ...] = ()
    uploads: tuple[UploadRecord, ...] = ()
    jobs: tuple[JobRecord, ...] = ()


def encode_key(key: str) -> bytes:
    """Return a key as its bytes."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(blob: bytes) -> str:
    """Return the key of these bytes."""
    return blob.decode("utf-8", "surrogateescape")


def encode_text(text: str | None) -> str | None:
    """Return a text that SQLite takes: what UTF-8 cannot hold is shown escaped."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def encode_attributes(attributes: ObjectAttributes) -> str:
    """Return attributes as one JSON text."""
    return _dumped(_beside(attributes))


def decode_attributes(text: str) -> ObjectAttributes:
    """Return the attributes of a JSON text. Raises: ValueError, KeyError, TypeError."""
    return _attributes(json.loads(text))


def encode_details(details: Mapping[str, str]) -> str:
    """Return a job's details as one JSON text."""
    return _dumped(dict(details))


def decode_details(text: str) -> Mapping[str, str]:
    """Return the details of a job's row. Raises: ValueError, AttributeError."""
    return {str(name): str(value) for name, value in json.loads(text).items()}


def encode_expected(expected: Precondition | None) -> str | None:
    """Return what must hold at a key as one JSON text."""
    return None if expected is None else _dumped({"version": expected.version})


def encode_file(record: FileRecord) -> Columns:
    """Return the columns of the table `files` for a record."""
    base = None if record.base is None else _dumped(_described(record.base))
    return (
        record.number,
        encode_key(record.key),
        record.size,
        _dumped(record.ranges),
        record.spill,
        record.data,
        base,
        encode_expected(record.expected),
        encode_attributes(record.attributes),
        record.kept_ns,
        record.attempts,
        encode_text(record.last_error),
        int(record.is_refused),
        encode_sent(record.sent),
    )


def encode_sent(sent: Sequence[ObjectAttributes]) -> str:
    """Return the column `sent` for attributes that may have reached the bucket."""
    return _dumped([_beside(attributes) for attributes in sent])


def decode_file(row: Sequence[Any]) -> FileRecord:
    """Return the record of a row of `files`.

    Raises: ValueError, KeyError, TypeError, AttributeError (not a row that `encode_file` made).
    """
    number, key, size, ranges, spill, data, base, expected, attributes, *others = row
    kept_ns, attempts, last_error, is_refused, sent = others
    return FileRecord(
        number=number,
        key=decode_key(key),
        size=size,
        ranges=tuple((start, stop, where) for start, stop, where in json.loads(ranges)),
        spill=spill,
        data=data,
        base=None if base is None else ObjectInfo(**json.loads(base)),
        expected=None if expected is None else Precondition(json.loads(expected)["version"]),
        attributes=decode_attributes(attributes),
        kept_ns=kept_ns,
        attempts=attempts,
        last_error=last_error,
        is_refused=bool(is_refused),
        sent=tuple(_attributes(beside) for beside in json.loads(sent)),
    )


def _beside(attributes: ObjectAttributes) -> dict[str, object]:
    metadata = dict(attributes.metadata)
    return {"metadata": metadata, "content_type": attributes.content_type}


def _attributes(beside: Mapping[str, Any]) -> ObjectAttributes:
    return ObjectAttributes(beside["metadata"], beside["content_type"])


def _described(info: ObjectInfo) -> dict[str, object]:
    """Return an info as what JSON knows; its field names are those of `ObjectInfo`."""
    return {
        "key": info.key,
        "size": info.size,
        "version": info.version,
        "modified_ns": info.modified_ns,
        "metadata": None if info.metadata is None else dict(info.metadata),
        "content_type": info.content_type,
        "storage_class": info.storage_class,
        "is_appendable": info.is_appendable,
    }


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
