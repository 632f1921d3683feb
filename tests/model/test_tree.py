"""Random operations on names through the kernel, against the same operations on a local folder."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = ["a", "b", "c", "d"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=20)


def _write(top: Path, path: str, data: bytes) -> None:
    (top / path).write_bytes(data)


def _append(top: Path, path: str, data: bytes) -> None:
    with open(top / path, "ab") as file:
        file.write(data)


def _symlink(top: Path, path: str, data: bytes) -> None:
    os.symlink(data.hex() or "x", top / path)


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
    st.tuples(paths, paths).map(
        lambda s: ("rename", lambda top, a, b: os.rename(top / a, top / b), s)
    ),
)


def _result(function: Callable[..., object], top: Path, arguments: tuple[object, ...]) -> object:
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
            if path.is_symlink():
                found[key] = os.readlink(path)
            else:
                found[key] = path.read_bytes() if path.is_file() else None
    return found


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=5, max_size=25))
def test_it_does_what_a_local_folder_does(
    mounted_folder_bucket: Path,
    tmp_path: Path,
    sequence: list[tuple[str, Callable[..., object], tuple[object, ...]]],
) -> None:
    name = f"model-{uuid.uuid4()}"
    ours, model = mounted_folder_bucket / name, tmp_path / name
    ours.mkdir()
    model.mkdir()
    for label, function, arguments in sequence:
        expected = _result(function, model, arguments)
        assert _result(function, ours, arguments) == expected, (label, arguments)
    assert _snapshot(ours) == _snapshot(model)
