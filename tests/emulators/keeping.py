"""Buckets, objects and uploads in memory: what every emulated cloud keeps, whatever its dialect.

Keys are text (bytes that are not UTF-8: surrogate escapes), ordered by their UTF-8 bytes.
`Bucket.lock` makes a look and the change after it one step; its owner holds it.
"""

from __future__ import annotations

import itertools
import threading
import uuid
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KeptObject:
    """One object. `headers` are those that stand beside it, names in lower case.

    `kind` is the cloud's word for how it was made (normal, appendable ...).
    """

    data: bytes
    etag: str
    modified_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    kind: str = "normal"
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptPart:
    """One part of an upload."""

    data: bytes
    etag: str
    modified_s: float


@dataclass
class KeptUpload:
    """A multipart upload that was neither completed nor aborted."""

    upload_id: str
    key: str
    began_s: float
    headers: Mapping[str, str]
    storage_class: str = "STANDARD"
    parts: dict[int, KeptPart] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A page of a listing; `next_marker` is the last name on it where there are more."""

    objects: list[tuple[str, KeptObject]]
    prefixes: list[str]
    next_marker: str | None


def key_bytes(key: str) -> bytes:
    """Return what keys are ordered by."""
    return key.encode("utf-8", "surrogateescape")


class Bucket:
    """One bucket; hold `lock` from a look to the change that rests on it."""

    def __init__(self, name: str, region: str, made_s: float) -> None:
        self.name = name
        self.region = region
        self.made_s = made_s
        self.lock = threading.RLock()
        self.uploads: dict[str, KeptUpload] = {}
        self.documents: dict[str, bytes] = {}
        """Settings of the bucket (cors, lifecycle, ...) as they were put."""
        self._objects: dict[str, KeptObject] = {}
        self._order: list[bytes] = []

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[str]:
        with self.lock:
            return iter([key.decode("utf-8", "surrogateescape") for key in self._order])

    def get(self, key: str) -> KeptObject | None:
        """Return the object under `key`, None without one."""
        return self._objects.get(key)

    def put(self, key: str, kept: KeptObject) -> KeptObject:
        """Put an object in, in place of what was there."""
        with self.lock:
            if key not in self._objects:
                insort(self._order, key_bytes(key))
            self._objects[key] = kept
        return kept

    def remove(self, key: str) -> bool:
        """Take an object out; return whether there was one."""
        with self.lock:
            if self._objects.pop(key, None) is None:
                return False
            del self._order[bisect_left(self._order, key_bytes(key))]
            return True

    def begin(
        self, key: str, began_s: float, headers: Mapping[str, str], storage_class: str = "STANDARD"
    ) -> KeptUpload:
        """Begin an upload."""
        upload = KeptUpload(uuid.uuid4().hex, key, began_s, headers, storage_class)
        self.uploads[upload.upload_id] = upload
        return upload

    def page(self, prefix: str, delimiter: str, marker: str, limit: int) -> Page:
        """Return what is listed after `marker`, at most `limit` objects and prefixes together."""
        first, after = key_bytes(prefix), key_bytes(marker)
        objects: list[tuple[str, KeptObject]] = []
        prefixes: list[str] = []
        with self.lock:
            place = max(bisect_left(self._order, first), bisect_right(self._order, after))
            while place < len(self._order) and self._order[place].startswith(first):
                key = self._order[place].decode("utf-8", "surrogateescape")
                group = _group(key, prefix, delimiter)
                if group is not None and group == marker:
                    place = self._behind(group)
                    continue
                if len(objects) + len(prefixes) >= limit:
                    last = max(([objects[-1][0]] if objects else []) + prefixes[-1:], key=key_bytes)
                    return Page(objects, prefixes, last)
                if group is None:
                    objects.append((key, self._objects[key]))
                    place += 1
                else:
                    prefixes.append(group)
                    place = self._behind(group)
        return Page(objects, prefixes, None)

    def _behind(self, group: str) -> int:
        return bisect_left(self._order, key_bytes(group) + b"\xff" * 2048)


def _group(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return key[: end + len(delimiter)] if end >= 0 else None


class Buckets:
    """All buckets of a cloud, by name."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._numbers = itertools.count(1)
        self.lock = threading.RLock()

    def __iter__(self) -> Iterator[Bucket]:
        with self.lock:
            return iter(sorted(self._buckets.values(), key=lambda bucket: bucket.name))

    def get(self, name: str) -> Bucket | None:
        """Return a bucket, None without one of the name."""
        return self._buckets.get(name)

    def make(self, name: str, region: str, made_s: float) -> Bucket:
        """Make a bucket; there is none of the name."""
        with self.lock:
            return self._buckets.setdefault(name, Bucket(name, region, made_s))

    def remove(self, name: str) -> None:
        """Take a bucket out."""
        with self.lock:
            self._buckets.pop(name, None)

    def new_name(self, stem: str = "test") -> str:
        """Return a name that no bucket of this cloud has had."""
        return f"{stem}-{next(self._numbers)}-{uuid.uuid4().hex[:6]}"
