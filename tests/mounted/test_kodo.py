"""A mounted Kodo bucket beside Qiniu's SDK: what is special of Kodo (the rest is in `clouds`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.emulators.kodo.sdk import Sdk
from tests.emulators.serving import RunningEmulator
from tests.mounted.conftest import wait_until
from tests.mounts.mounting import Mount, error_of, mounted

MIB = 1 << 20

pytestmark = pytest.mark.mounted


@pytest.fixture
def sdk(kodo: RunningEmulator) -> Sdk:
    """The SDK with a bucket of its own."""
    return Sdk(kodo, kodo.make_bucket())


@pytest.fixture
def mount(sdk: Sdk, tmp_path: Path) -> Iterator[Mount]:
    """That bucket, mounted."""
    with mounting(sdk, tmp_path) as found:
        yield found


def mounting(sdk: Sdk, folder: Path, name: str = "mnt") -> AbstractContextManager[Mount]:
    """Mount the SDK's bucket."""
    options = (f"endpoint={sdk.server.endpoint}", "ttl=1")
    environment = sdk.server.environment
    return mounted(f"kodo://{sdk.bucket}", folder, *options, environment=environment, name=name)


def test_names_move_without_their_bytes(sdk: Sdk, mount: Mount) -> None:
    (mount.path / "d").mkdir()
    for name in ("a", "b"):
        (mount.path / "d" / name).write_bytes(name.encode())
    (mount.path / "d" / "a").rename(mount.path / "d" / "c")
    sdk.server.knobs.seen.clear()
    (mount.path / "d").rename(mount.path / "e")
    sent = [ask.target for ask in sdk.server.knobs.seen]
    assert not [target for target in sent if target.startswith("/copy")]
    assert sdk.keys() == ["e/", "e/b", "e/c"]
    assert (mount.path / "e" / "c").read_bytes() == b"a"
    (mount.path / "e" / "c").rename(mount.path / "e" / "b")
    assert sdk.get("e/b").content == b"a"
    (mount.path / "e" / "b").unlink()
    (mount.path / "e").rmdir()
    assert sdk.keys() == []


def test_objects_that_may_not_be_read_have_attributes(sdk: Sdk, mount: Mount) -> None:
    for name in "abcdef":
        sdk.put(f"d/{name}", b"x", metadata={"x-qn-meta-mode": str(0o100600)})
    sdk.manager.change_status(sdk.bucket, "d/c", "1", None)
    sdk.manager.change_type(sdk.bucket, "d/e", 2)
    wait_until((mount.path / "d").exists)
    with os.scandir(mount.path / "d") as entries:
        modes = {entry.name: entry.stat().st_mode for entry in entries}
    assert modes == dict.fromkeys("abcdef", 0o100600)
    assert (mount.path / "d" / "b").read_bytes() == b"x"
    assert error_of((mount.path / "d" / "c").read_bytes) == "EACCES"
    assert error_of((mount.path / "d" / "e").read_bytes) == "EIO"


def test_names_that_kodo_cannot_hold(mount: Mount) -> None:
    assert error_of(os.mkdir, os.fsencode(mount.path) + b"/\xff\xfe") == "EINVAL"
    deep = mount.path / ("x" * 200)
    deep.mkdir()
    (deep / ("y" * 200)).mkdir()
    (deep / ("y" * 200) / ("z" * 200)).mkdir()
    path = deep / ("y" * 200) / ("z" * 200) / ("w" * 200)
    assert error_of(path.touch) == "ENAMETOOLONG"
