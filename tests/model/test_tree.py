"""Random operations on names through the kernel, against the same operations on a local folder."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mounts.mounting import mounted

EXAMPLES = 300
LATEST_SET_NS = 1_600_000_000 * 10**9
Step = tuple[str, Callable[..., object], tuple[object, ...]]
NAMES = ["a", "b", "c", "d"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=20)
numbers = st.integers(0, 1_500_000_000)


def _write(top: Path, path: str, data: bytes) -> None:
    (top / path).write_bytes(data)


def _append(top: Path, path: str, data: bytes) -> None:
    with open(top / path, "ab") as file:
        file.write(data)


def _symlink(top: Path, path: str, data: bytes) -> None:
    os.symlink(data.hex() or "x", top / path)


def _chmod(top: Path, path: str, number: int) -> None:
    os.chmod(top / path, number & 0o777)


def _chown(top: Path, path: str, number: int) -> None:
    os.chown(top / path, number % 5000, number % 7000, follow_symlinks=False)


def _utime(top: Path, path: str, number: int) -> None:
    os.utime(top / path, ns=(number * 3, number * 10**9 + number), follow_symlinks=False)


def _truncate(top: Path, path: str, number: int) -> None:
    os.truncate(top / path, number % 100)


def _fifo(top: Path, path: str, number: int) -> None:
    os.mkfifo(top / path, number & 0o777)


def _write_open(top: Path, path: str, number: int) -> None:
    """Write, change attributes and rename while the file is open."""
    with open(top / path, "xb", buffering=0) as file:
        file.write(b"open")
        os.fchmod(file.fileno(), number & 0o777)
        os.rename(top / path, top / f"{path}{number % 3}")
        os.utime(file.fileno(), ns=(number, number * 2))
    os.rename(top / f"{path}{number % 3}", top / path)


def _read(top: Path, path: str) -> bytes:
    return (top / path).read_bytes()


def _list(top: Path, path: str) -> list[str]:
    return sorted(os.listdir(top / path))


def _stat(top: Path, path: str) -> tuple[int, int]:
    found = os.lstat(top / path)
    return stat.S_IFMT(found.st_mode), found.st_size if stat.S_ISREG(found.st_mode) else 0


def _on(function: Callable[[Path], object]) -> Callable[[Path, str], object]:
    return lambda top, path: function(top / path)


one_path = st.sampled_from(
    [
        (_read, "read"),
        (_list, "list"),
        (_stat, "stat"),
        (_on(os.mkdir), "mkdir"),
        (_on(os.rmdir), "rmdir"),
        (_on(os.unlink), "unlink"),
    ]
)
steps = st.one_of(
    st.tuples(one_path, paths).map(lambda s: (s[0][1], s[0][0], (s[1],))),
    st.tuples(st.sampled_from([_write, _append, _symlink]), paths, contents).map(
        lambda s: (s[0].__name__, s[0], (s[1], s[2]))
    ),
    st.tuples(
        st.sampled_from([_chmod, _chown, _utime, _truncate, _fifo, _write_open]), paths, numbers
    ).map(lambda s: (s[0].__name__, s[0], (s[1], s[2]))),
    st.tuples(paths, paths).map(
        lambda s: ("rename", lambda top, a, b: os.rename(top / a, top / b), s)
    ),
)


def _result(function: Callable[..., object], top: Path, arguments: tuple[object, ...]) -> object:
    try:
        if function in (_read, _append, _write) and stat.S_ISFIFO(
            os.stat(top / str(arguments[0])).st_mode
        ):
            return "a fifo"  # opening it would wait
    except OSError:
        pass
    try:
        return function(top, *arguments)
    except OSError as error:
        # Linux leaves open which of the two a rename over a full directory says.
        return "ENOTEMPTY" if error.errno in (17, 39) else os.strerror(error.errno or 0)


def _snapshot(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(folder) / name
            key = str(path.relative_to(top))
            status = os.lstat(path)
            data: object = None
            if path.is_symlink():
                data = os.readlink(path)
            elif path.is_file():
                data = path.read_bytes()
            # Times that nobody set are those of two clocks; those that somebody set are past.
            is_set = status.st_mtime_ns < LATEST_SET_NS
            mtime_ns = status.st_mtime_ns if is_set else None
            found[key] = status.st_mode, status.st_uid, status.st_gid, mtime_ns, data
    return found


def _check(top: Path, model: Path, sequence: Sequence[Step]) -> None:
    """Do the same in both, and see the same in both."""
    top.mkdir()
    model.mkdir()
    for label, function, arguments in sequence:
        expected = _result(function, model, arguments)
        assert _result(function, top, arguments) == expected, (label, arguments)
    assert _snapshot(top) == _snapshot(model)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=5, max_size=25))
def test_it_does_what_a_local_folder_does(
    mounted_folder_bucket: Path, tmp_path: Path, sequence: list[Step]
) -> None:
    name = f"model-{uuid.uuid4()}"
    _check(mounted_folder_bucket / name, tmp_path / name, sequence)


@pytest.mark.campaign
@pytest.mark.parametrize("ttl", [0, 60])
def test_it_does_for_long_and_a_cold_mount_sees_the_same(
    tmp_path: Path, bucket_folder: Path, ttl: int
) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, min_size=5, max_size=25))
    def check(sequence: list[Step]) -> None:
        name = f"model-{uuid.uuid4()}"
        _check(mount.path / name, tmp_path / name, sequence)
        # What nobody asked for in this mount is asked of the bucket.
        with mounted(url, tmp_path, f"ttl={ttl}", name="cold") as cold:
            assert _snapshot(cold.path / name) == _snapshot(tmp_path / name)

    url = f"file://{bucket_folder}"
    with mounted(url, tmp_path, f"ttl={ttl}") as mount:
        check()
