"""Random operations on names, held against a dict; seen by this mount and by a second one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketfs.errors import (
    DirectoryNotEmpty,
    EntryExists,
    EntryNotFound,
    FileSystemError,
    InvalidOperation,
    IsADirectory,
    NotADirectory,
)
from bucketfs.namespace.nodes import Changes, Node
from bucketfs.storage.memory import DEFAULT_CAPABILITIES

from .trees import CALLER, NO_MOVE, NotingStore, World, make_world, mode_of

NAMES = ("a", "b", "c")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
OPERATIONS = st.one_of(
    st.tuples(st.just("file"), PATHS, st.integers(0, 5)),
    st.tuples(st.just("unsaved"), PATHS, st.integers(0, 5)),
    st.tuples(st.just("directory"), PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("rmdir"), PATHS),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from((0o600, 0o755))),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("save")),
    st.tuples(st.just("forget")),
)


@dataclass
class Entry:
    """What the model knows of one path: a file's size or a directory (None), and the mode."""

    size: int | None
    mode: int


class Model:
    """A file system as a dict of paths."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"": Entry(None, 0o755)}

    def parent(self, path: str) -> None:
        """Walk to the directory of a path."""
        names = path.split("/")[:-1]
        for depth in range(len(names) + 1):
            step = self.entries.get("/".join(names[:depth]))
            if step is None:
                raise EntryNotFound(path)
            if step.size is not None:
                raise NotADirectory(path)

    def entry(self, path: str) -> Entry:
        self.parent(path)
        if path not in self.entries:
            raise EntryNotFound(path)
        return self.entries[path]

    def make(self, path: str, entry: Entry) -> None:
        self.parent(path)
        if path in self.entries:
            raise EntryExists(path)
        self.entries[path] = entry

    def unlink(self, path: str) -> None:
        if self.entry(path).size is None:
            raise IsADirectory(path)
        del self.entries[path]

    def rmdir(self, path: str) -> None:
        if self.entry(path).size is not None:
            raise NotADirectory(path)
        if self.below(path):
            raise DirectoryNotEmpty(path)
        del self.entries[path]

    def below(self, path: str) -> list[str]:
        return [name for name in self.entries if name.startswith(path + "/")]

    def rename(self, old: str, new: str) -> None:
        self.parent(old)
        self.parent(new)
        source = self.entry(old)
        target = self.entries.get(new)
        if old == new:
            return
        if new.startswith(old + "/"):
            raise InvalidOperation(old)
        if target is not None:
            if old.startswith(new + "/"):
                raise DirectoryNotEmpty(new)
            if source.size is None and target.size is not None:
                raise NotADirectory(new)
            if source.size is not None and target.size is None:
                raise IsADirectory(new)
            if self.below(new):
                raise DirectoryNotEmpty(new)
        for path in [old, *self.below(old)]:
            self.entries[new + path[len(old) :]] = self.entries.pop(path)


class Actor:
    """Does to a tree what the kernel would do for the same operation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.unsaved: list[Node] = []

    async def walk(self, path: str) -> Node:
        return await self.world.lookup(*[name.encode() for name in path.split("/") if name])

    async def split(self, path: str) -> tuple[Node, bytes]:
        folder, _, name = path.rpartition("/")
        parent = await self.walk(folder)
        if not parent.is_directory:
            raise NotADirectory(path)
        return parent, name.encode()

    async def do(self, operation: str, *arguments: object) -> None:
        await getattr(self, f"do_{operation}")(*arguments)

    async def do_file(self, path: str, size: int) -> None:
        await self.world.file(*await self.split(path), bytes(size))

    async def do_unsaved(self, path: str, size: int) -> None:
        self.unsaved.append(await self.world.open_new(*await self.split(path), bytes(size)))

    async def do_directory(self, path: str) -> None:
        await self.world.directory(*await self.split(path))

    async def do_unlink(self, path: str) -> None:
        await self.world.tree.unlink(*await self.split(path))

    async def do_rmdir(self, path: str) -> None:
        await self.world.tree.remove_directory(*await self.split(path))

    async def do_chmod(self, path: str, mode: int) -> None:
        await self.world.tree.change(await self.walk(path), Changes(mode=mode), CALLER)

    async def do_rename(self, old: str, new: str) -> None:
        source, target = await self.split(old), await self.split(new)
        await self.world.tree.rename(*source, *target, 0)

    async def do_save(self) -> None:
        for node in self.unsaved:
            await self.world.tree.save(node)
            await self.world.tree.closed(node, is_writer=True)
        self.unsaved.clear()

    async def do_forget(self) -> None:
        for node in self.world.tree.inodes:
            self.world.tree.forget(node.inode, node.lookups)


def do_to_model(model: Model, operation: str, *arguments: object) -> None:
    match operation, *arguments:
        case "file" | "unsaved", str(path), int(size):
            model.make(path, Entry(size, 0o644))
        case "directory", str(path):
            model.make(path, Entry(None, 0o755))
        case "unlink", str(path):
            model.unlink(path)
        case "rmdir", str(path):
            model.rmdir(path)
        case "chmod", str(path), int(mode):
            model.entry(path).mode = mode
        case "rename", str(old), str(new):
            model.rename(old, new)


async def seen(world: World, directory: Node, path: str = "") -> dict[str, Entry]:
    """Walk a tree by listings and look-ups."""
    found: dict[str, Entry] = {}
    for name in await world.names(directory):
        node = await world.tree.lookup(directory, name)
        inner = f"{path}{name.decode()}"
        found[inner] = Entry(None if node.is_directory else node.size, mode_of(node))
        if node.is_directory:
            found |= await seen(world, node, inner + "/")
    return found


async def outcome_of(actor: Actor, operation: tuple[object, ...]) -> type[Exception] | None:
    try:
        await actor.do(*operation)  # type: ignore[arg-type]
    except FileSystemError as exc:
        return type(exc)
    return None


def expected_of(model: Model, operation: tuple[object, ...]) -> type[Exception] | None:
    try:
        do_to_model(model, *operation)  # type: ignore[arg-type]
    except FileSystemError as exc:
        return type(exc)
    return None


async def run(operations: list[tuple[object, ...]], *, ttl_s: float, is_native: bool) -> None:
    model = Model()
    async with trio.open_nursery() as nursery:
        store = NotingStore(DEFAULT_CAPABILITIES if is_native else NO_MOVE)
        world = make_world(nursery, ttl_s=ttl_s, store=store)
        actor = Actor(world)
        for operation in operations:
            assert await outcome_of(actor, operation) is expected_of(model, operation), operation
        expected = {path: entry for path, entry in model.entries.items() if path}
        assert await seen(world, world.root) == expected
        await actor.do_save()
        assert world.tree.unsaved() == []
        second = make_world(nursery, store=store)
        assert await seen(second, second.root) == expected
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_native", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize("ttl_s", [0.0, 60.0])
@settings(max_examples=40, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_a_tree_behaves_like_a_dict(
    operations: list[tuple[object, ...]], ttl_s: float, is_native: bool
) -> None:
    trio.run(partial(run, operations, ttl_s=ttl_s, is_native=is_native))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(OPERATIONS, max_size=25), ttl_s=st.sampled_from((0.0, 60.0)))
def test_so_it_does_while_nodes_are_dormant_whenever_they_may(
    operations: list[tuple[object, ...]], ttl_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bucketfs.namespace.inodes.AWAKE", 1)
    trio.run(partial(run, operations, ttl_s=ttl_s, is_native=False))
