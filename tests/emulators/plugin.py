"""Fixtures: emulated clouds, one server each for a whole session, started when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.emulators.forwarding import ForwardedS3
from tests.emulators.serving import RunningEmulator, serving
from tests.servers.s3_server import RunningS3


@contextmanager
def running(cloud: str) -> Iterator[RunningEmulator]:
    """Run the emulator of package `tests.emulators.CLOUD` for the time of the block."""
    emulator = importlib.import_module(f"tests.emulators.{cloud}").make()
    with serving(emulator) as endpoint:
        yield RunningEmulator(cloud, endpoint, emulator)


@pytest.fixture(scope="session")
def cos() -> Iterator[RunningEmulator]:
    """Tencent COS."""
    with running("cos") as server:
        yield server


@pytest.fixture(scope="session")
def bos() -> Iterator[RunningEmulator]:
    """Baidu BOS."""
    with running("bos") as server:
        yield server


@pytest.fixture(scope="session")
def kodo() -> Iterator[RunningEmulator]:
    """Qiniu Kodo."""
    with running("kodo") as server:
        yield server


@pytest.fixture(scope="session")
def knobbed_s3(juicefs: RunningS3) -> Iterator[RunningEmulator]:
    """MinIO's S3, behind our knobs."""
    emulator = ForwardedS3(juicefs)
    with serving(emulator) as endpoint:
        yield RunningEmulator("s3", endpoint, emulator)
