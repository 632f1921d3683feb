"""A mounted Kodo bucket beside Qiniu's own SDK: through the kernel, over the emulator."""

from __future__ import annotations

import os
import stat
import time
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


def test_small_files(sdk: Sdk, mount: Mount) -> None:
    (mount.path / "d").mkdir()
    path = mount.path / "d" / "页 1.html"
    path.write_text("<p>")
    path.chmod(0o640)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    (mount.path / "empty").touch()
    os.symlink("d/页 1.html", mount.path / "link")
    os.setxattr(path, "user.colour", b"red")
    assert sdk.keys() == ["d/", "d/页 1.html", "empty", "link"]
    assert sdk.get("d/页 1.html").content == b"<p>"
    found, _ = sdk.manager.stat(sdk.bucket, "d/页 1.html")
    assert found["mimeType"] == "text/html"
    assert int(found["x-qn-meta"]["mode"]) == 0o100640
    assert found["x-qn-meta"]["mtime"] == "1600000000.987654321"
    os.removexattr(path, "user.colour")
    assert os.listxattr(path) == []


def test_a_large_file_is_written_changed_and_grown(sdk: Sdk, mount: Mount) -> None:
    data = bytearray(os.urandom(20 * MIB + 7))
    path = mount.path / "large"
    path.write_bytes(data)
    assert sdk.get("large").content == bytes(data)
    with path.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(b"changed")
    data[9 * MIB : 9 * MIB + 7] = b"changed"
    with path.open("ab") as file:
        file.write(b"more")
    data += b"more"
    assert path.read_bytes() == bytes(data)
    assert sdk.get("large").content == bytes(data)


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


def test_a_second_mount_finds_everything(sdk: Sdk, mount: Mount, tmp_path: Path) -> None:
    path = mount.path / "f"
    path.write_bytes(b"kept")
    path.chmod(0o600)
    os.setxattr(path, "user.colour", "grün %".encode())
    os.symlink("f", mount.path / "link")
    os.mkfifo(mount.path / "fifo")
    before = path.stat()
    mount.unmount()
    with mounting(sdk, tmp_path, "second") as second:
        after = (second.path / "f").stat()
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
        assert os.getxattr(second.path / "f", "user.colour") == "grün %".encode()
        assert (second.path / "link").read_bytes() == b"kept"
        assert stat.S_ISFIFO((second.path / "fifo").stat().st_mode)
        assert sorted(os.listdir(second.path)) == ["f", "fifo", "link"]


def test_what_the_sdk_does_is_seen(sdk: Sdk, mount: Mount, tmp_path: Path) -> None:
    path = mount.path / "a" / "b"
    sdk.put("a/b", b"first")
    wait_until(lambda: path.exists() and path.read_bytes() == b"first")
    sdk.put("a/b", b"other")
    wait_until(lambda: path.read_bytes() == b"other")
    sdk.manager.delete(sdk.bucket, "a/b")
    wait_until(lambda: not path.exists())
    data = os.urandom(10 * MIB)
    (tmp_path / "source").write_bytes(data)
    sdk.put_file("large", tmp_path / "source", tmp_path)
    assert (mount.path / "large").read_bytes() == data


def test_a_file_that_somebody_replaced_is_not_overwritten(sdk: Sdk, mount: Mount) -> None:
    path = mount.path / "f"
    path.write_bytes(b"ours")
    wait_until(lambda: path.read_bytes() == b"ours")
    fd = os.open(path, os.O_RDWR)
    os.write(fd, b"OURS")
    sdk.put("f", b"theirs")
    time.sleep(1.1)  # What the mount wrote itself is believed for a second.
    assert error_of(os.fsync, fd) == "ESTALE"
    assert error_of(os.close, fd) == "ESTALE"
    assert sdk.get("f").content == b"theirs"


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
