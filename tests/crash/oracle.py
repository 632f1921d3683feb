"""Compare what is found after a kill with the worlds that are allowed (`world.py`); all pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from bucketfs.namespace.removal import FETCH_LIMIT_BYTES
from tests.crash.world import File, Operation, Version, World

BLOCK = 4096
RENAMES = ("rename", "rename_directory")


@dataclass(frozen=True)
class Rules:
    """What a mode promises. `may_mix`: un-synced writes may be found in part (writeback).

    `may_leave_remains`: a rename that was killed may have left both names, one of them whole, and a
    large file that was removed while it was open its object: so it is in the bucket before the next
    mount settles it.
    """

    may_mix: bool = False
    may_leave_remains: bool = False


@dataclass
class Found:
    """What a mount or another client shows of one worker's part."""

    files: dict[str, Version] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Verdict:
    """`problems` is empty where all is well; `has_remains`: a killed rename left both names."""

    problems: tuple[str, ...] = ()
    has_remains: bool = False


def judge(
    worlds: Sequence[World], found: Found, rules: Rules, under_way: Operation | None = None
) -> Verdict:
    """Compare with every allowed world; where none fits, tell what the nearest one misses."""
    told = [problems_of(world, found, rules) for world in worlds]
    best = min(told, key=len)
    if not best:
        return Verdict()
    is_rename = under_way is not None and under_way["do"] in RENAMES
    if is_rename and rules.may_leave_remains and _are_remains(worlds, found, rules):
        return Verdict(has_remains=True)
    return Verdict(tuple(f"{problem}; under way: {under_way}" for problem in best))


def problems_of(world: World, found: Found, rules: Rules) -> list[str]:
    """Return what differs from one world."""
    problems = [
        f"{path}: expected {_expected(file)}, found {_told(found.files.get(path))}"
        for path, file in world.files.items()
        if not allows(file, found.files.get(path), rules)
    ]
    nobodys = found.files.keys() - world.files.keys()
    if rules.may_leave_remains:
        nobodys -= {path for path in nobodys if _is_hidden(world, path, found.files[path])}
    problems += [f"{path}: nobody's, found {_told(found.files[path])}" for path in nobodys]
    problems += [f"{path}/ is lost" for path in world.directories - found.directories]
    problems += [f"{path}/ is nobody's" for path in found.directories - world.directories]
    return problems


def _is_hidden(world: World, path: str, version: Version) -> bool:
    """Return whether an object may be there because a removed file is still open."""
    _, saved = world.hidden.get(path, (None, None))
    return saved is not None and len(saved.data) > FETCH_LIMIT_BYTES and _equal(version, saved)


def allows(file: File, found: Version | None, rules: Rules) -> bool:
    """Return whether a file may be found so."""
    if any(_equal(found, version) for version in file.allowed):
        return True
    if found is None or not rules.may_mix:
        return False
    versions = [v for v in (*file.allowed, *file.history) if v is not None]
    has_mode = found.mode is None or any(found.mode == version.mode for version in versions)
    return has_mode and _is_mixture(found.data, versions)


def _equal(found: Version | None, version: Version | None) -> bool:
    if found is None or version is None:
        return found is version
    return found.data == version.data and found.mode in (None, version.mode)


def _is_mixture(data: bytes, versions: Sequence[Version]) -> bool:
    """Return whether each byte is that of some version, and the length that of one."""
    if len(data) not in {len(version.data) for version in versions}:
        return False
    texts = [version.data.ljust(len(data), b"\0") for version in versions]
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        blocks = [text[start : start + len(block)] for text in texts]
        if block not in blocks and not all(
            any(other[n] == byte for other in blocks) for n, byte in enumerate(block)
        ):
            return False
    return True


def _are_remains(worlds: Sequence[World], found: Found, rules: Rules) -> bool:
    """Return whether all of one world is there, and nothing that is in neither."""

    def is_whole(world: World) -> bool:
        return world.directories <= found.directories and all(
            allows(file, found.files.get(path), rules) for path, file in world.files.items()
        )

    def is_known(path: str, version: Version) -> bool:
        files = [world.files[path] for world in worlds if path in world.files]
        return any(allows(file, version, rules) for file in files)

    known_directories = set[str]().union(*(world.directories for world in worlds))
    return (
        any(is_whole(world) for world in worlds)
        and all(is_known(path, version) for path, version in found.files.items())
        and found.directories <= known_directories
    )


def adopted(found: Found, lines: int) -> World:
    """Return the world that goes on from what was found."""
    files = {path: File(version, [version]) for path, version in found.files.items()}
    return World(files, set(found.directories), lines=lines)


def _told(version: Version | None) -> str:
    if version is None:
        return "nothing"
    kind = "zeros " if version.data and not version.data.strip(b"\0") else ""
    digest = hashlib.sha256(version.data).hexdigest()[:8]
    mode = "" if version.mode is None else f" {version.mode:o}"
    return f"{kind}{len(version.data)} bytes {digest}{mode}"


def _expected(file: File) -> str:
    return " or ".join(_told(version) for version in file.allowed)


def problems_of_log(data: bytes, promised: Sequence[tuple[int, int]]) -> list[str]:
    """Compare the log that all workers append to; `promised`: per worker (acknowledged, begun).

    Each worker's lines must be there once, in order, without a gap: all acknowledged ones, and at
    most those that it began.
    """
    numbers = numbers_in_log(data, len(promised))
    problems = []
    for worker, (acknowledged, begun) in enumerate(promised):
        mine = numbers[worker]
        if mine != list(range(len(mine))) or not acknowledged <= len(mine) <= begun:
            problems.append(
                f"the shared log: worker {worker} acknowledged {acknowledged} and began {begun}"
                f" lines, found {len(mine)}, the last ones {mine[-3:]}"
            )
    return problems


def numbers_in_log(data: bytes, workers: int) -> list[list[int]]:
    """Return each worker's numbers in their order; a line that is torn is nobody's: -1."""
    numbers: list[list[int]] = [[] for _ in range(workers)]
    for text in data.splitlines(keepends=True):
        worker, _, rest = text.partition(b" ")
        number = rest.partition(b" ")[0]
        is_whole = worker.isdigit() and number.isdigit() and text == line(int(worker), int(number))
        numbers[int(worker) if is_whole else 0].append(int(number) if is_whole else -1)
    return numbers


def line(worker: int, number: int) -> bytes:
    """Return the text of one line of the shared log."""
    filling = "x" * ((worker * 31 + number * 7) % 200)
    return f"{worker} {number} {filling}\n".encode()
