"""Tencent COS in memory: `make()` returns one, with an account and no bucket."""

from __future__ import annotations

from tests.emulators.cos.cloud import CosEmulator


def make() -> CosEmulator:
    """Return a new, empty cloud."""
    return CosEmulator()
