"""Qiniu Kodo in memory: one port serves all of its services, and every bucket's download domain.

API requests are told by their path. A request whose Host header is `BUCKET.kodo.test` is a download
from that bucket's domain: connect to the emulator's port and send that Host.
"""

from tests.emulators.kodo.emulator import KodoEmulator


def make() -> KodoEmulator:
    """Return a cloud without buckets."""
    return KodoEmulator()
