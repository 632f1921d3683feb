"""Which blocks there are, and which go first: least recently used, by bytes. Pure bookkeeping."""

from __future__ import annotations

from typing import NamedTuple

PAGE_BYTES = 4096


class Held(NamedTuple):
    """What is known of a file: the rest of its digest, and its bytes on disk."""

    digest_rest: bytes
    disk_bytes: int


def on_disk(file_bytes: int) -> int:
    """Return how much disk a file takes: whole pages."""
    return -(-file_bytes // PAGE_BYTES) * PAGE_BYTES


class Recency:
    """Blocks by their short names, the least recently used first. Not locked."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self._held: dict[bytes, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, short_name: bytes) -> bool:
        return short_name in self._held

    def add(self, short_name: bytes, held: Held) -> None:
        """Note a block, as the most recently used."""
        self.remove(short_name)
        self._held[short_name] = held
        self.held_bytes += held.disk_bytes

    def touch(self, short_name: bytes) -> None:
        """Note that a block was used now."""
        held = self._held.pop(short_name, None)
        if held is not None:
            self._held[short_name] = held

    def remove(self, short_name: bytes) -> None:
        """Forget a block."""
        held = self._held.pop(short_name, None)
        if held is not None:
            self.held_bytes -= held.disk_bytes

    def take_oldest(self, count: int) -> list[tuple[bytes, Held]]:
        """Forget those that were unused longest, until `count` bytes are free; return them."""
        taken: list[tuple[bytes, Held]] = []
        while count > 0 and self._held:
            short_name = next(iter(self._held))
            held = self._held[short_name]
            self.remove(short_name)
            taken.append((short_name, held))
            count -= held.disk_bytes
        return taken
