"""A fresh directory on a mounted bucket for each test; or, to check the tests, elsewhere.

`POSIX_REFERENCE=/tmp/folder pytest tests/posix` runs them on an ordinary local folder: what fails
there is an error of a test.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def is_reference() -> bool:
    """Whether the tests run on another file system to check themselves."""
    return "POSIX_REFERENCE" in os.environ


@pytest.fixture(scope="session", params=["folder", "bos", "radosgw"])
def posix_root(request: pytest.FixtureRequest, is_reference: bool) -> Path:
    """The mounted bucket, of a folder, an emulated cloud and a server (or the reference folder)."""
    if is_reference:
        return Path(os.environ["POSIX_REFERENCE"])
    root: Path = request.getfixturevalue(f"mounted_{request.param}_bucket")
    return root


@pytest.fixture
def top(posix_root: Path) -> Iterator[Path]:
    """An empty directory of mode 0755 that any user can reach."""
    path = posix_root / f"t{next(_numbers)}"
    path.mkdir()
    yield path
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)
    shutil.rmtree(path)
