"""Baidu BOS in memory: bce-auth-v1, JSON, appendable objects, symlinks."""

from tests.emulators.bos.cloud import BosCloud


def make() -> BosCloud:
    """Return an emulated cloud without buckets."""
    return BosCloud()
