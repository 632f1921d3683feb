"""The order of keys: by their UTF-8 bytes, as every cloud lists them (pure).

Python compares text by code points, which agrees; except for escaped bytes (surrogates), which
would sort below what they stand for.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from bucketfs.errors import InvalidKey

ABOVE_ALL = b"\xff" * 2048
"""Longer than any key, and 0xFF is above every byte of UTF-8: a prefix + this ends its range."""


def key_bytes(key: str) -> bytes:
    """Return the bytes that a key stands for. Raises: InvalidKey for text that stands for none."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise InvalidKey("neither text nor escaped bytes", key=key) from exc


class SortedKeys:
    """A set of keys that can be walked in order from any place (an index into it)."""

    def __init__(self) -> None:
        self._order: list[tuple[bytes, str]] = []

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> str:
        return self._order[place][1]

    def add(self, key: str) -> None:
        """Put in a key that is not there yet."""
        insort(self._order, (key_bytes(key), key))

    def remove(self, key: str) -> None:
        """Take out a key that is there."""
        del self._order[bisect_left(self._order, (key_bytes(key), key))]

    def first_below(self, prefix: str) -> int:
        """Return the place of the first key that starts with `prefix` or is above it."""
        return bisect_left(self._order, (key_bytes(prefix), ""))

    def first_after(self, key: str) -> int:
        """Return the place of the first key above `key`."""
        return bisect_left(self._order, (key_bytes(key) + b"\0", ""))

    def first_behind(self, prefix: str) -> int:
        """Return the place of the first key above all that start with `prefix`."""
        return bisect_left(self._order, (key_bytes(prefix) + ABOVE_ALL, ""))
