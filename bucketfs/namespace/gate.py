"""Locks on names, so that two changes of one name, or of a tree and a name in it, never overlap.

A hold is taken whole or not at all, so holds cannot deadlock with one another; a task that has one
must not wait for a second. Waiters go in order of arrival unless nothing of theirs is in question.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from bucketfs.namespace.nodes import Node

Place = tuple[Node, str]
"""A name in a directory, whether or not something has it."""


class _Request:
    """One wish for paths and whole trees; `is_granted` becomes true once it is fulfilled."""

    __slots__ = ("granted", "paths", "trees")

    def __init__(self, paths: frozenset[str], trees: tuple[str, ...]) -> None:
        self.paths = paths
        self.trees = trees
        self.granted = trio.Event()

    def conflicts(self, other: _Request) -> bool:
        """Tell whether both cannot be held at once."""
        if not self.paths.isdisjoint(other.paths):
            return True
        return self._covers(other) or other._covers(self)

    def _covers(self, other: _Request) -> bool:
        return any(
            name.startswith(tree) for tree in self.trees for name in (*other.paths, *other.trees)
        )


class KeyGate:
    """Locks named by paths ("a/b") and by trees ("a/b/": everything below that directory)."""

    def __init__(self) -> None:
        self._held: list[_Request] = []
        self._waiting: list[_Request] = []

    @asynccontextmanager
    async def hold(self, *paths: str, trees: Sequence[str] = ()) -> AsyncIterator[None]:
        """Hold all of `paths` and `trees` at once.

        A cancelled waiter leaves nothing behind; the release is no checkpoint, so that cancellation
        cannot keep a lock either.
        """
        request = _Request(frozenset(paths), tuple(trees))
        if any(request.conflicts(other) for other in (*self._held, *self._waiting)):
            self._waiting.append(request)
            try:
                await request.granted.wait()
            except BaseException:
                self._leave(request)
                raise
        else:
            self._held.append(request)
        try:
            yield
        finally:
            self._leave(request)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held or waited for."""
        return not self._held and not self._waiting

    def _leave(self, request: _Request) -> None:
        """Give a hold or a wish up and grant what has become possible."""
        # ATOMIC: from release to grant, so that nobody overtakes a waiter
        if request in self._held:
            self._held.remove(request)
        else:
            self._waiting.remove(request)
        still_waiting: list[_Request] = []
        for waiter in self._waiting:
            if any(waiter.conflicts(other) for other in (*self._held, *still_waiting)):
                still_waiting.append(waiter)
            else:
                self._held.append(waiter)
                waiter.granted.set()
        self._waiting = still_waiting


def path_of(place: Place) -> str:
    """Spell a place by the names above it: the same for a file and a directory, unlike keys."""
    directory, name = place
    names = [name]
    while directory.parent is not None:
        names.append(directory.name)
        directory = directory.parent
    return "/".join(reversed(names))


def place_of(node: Node) -> Place:
    """Return where a node is; the root is the empty name in itself."""
    return (node if node.parent is None else node.parent, node.name)


@asynccontextmanager
async def hold_places(
    gate: KeyGate, *places: Place, trees: Sequence[Place] = ()
) -> AsyncIterator[None]:
    """Hold names by where they are now, following renames of the directories above meanwhile."""
    while True:
        paths, below = _spell(places, trees)
        async with gate.hold(*paths, trees=below):
            if (paths, below) == _spell(places, trees):
                yield
                return


@asynccontextmanager
async def hold_node(gate: KeyGate, node: Node) -> AsyncIterator[None]:
    """Hold the name of one node, following its renames meanwhile."""
    while True:
        path = path_of(place_of(node))
        async with gate.hold(path):
            if path == path_of(place_of(node)):
                yield
                return


def _spell(places: Sequence[Place], trees: Sequence[Place]) -> tuple[list[str], list[str]]:
    return [path_of(place) for place in places], [path_of(place) + "/" for place in trees]
