"""What this mount itself did to names, so that older answers of the server cannot undo it.

A LIST or HEAD that was asked for before a change may be answered as if the change had not been.
Each request therefore notes when it began, on a counter that every change moves; a change that came
later outweighs its answer. Changes are kept only while such requests are under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NewType, Protocol, TypeVar

Moment = NewType("Moment", int)
"""A count of begins and changes: later is larger, and no two are equal."""

E = TypeVar("E")


class HasName(Protocol):
    """An entry, as far as this module knows it."""

    @property
    def name(self) -> str:
        """Its name in its directory."""


Named = TypeVar("Named", bound=HasName)


@dataclass(frozen=True, slots=True)
class LocalChange(Generic[E]):
    """A name as this mount left it: `entry` None where it was removed."""

    moment: Moment
    entry: E | None


class LocalChanges(Generic[E]):
    """The names that were changed while requests are under way, and those that are hidden.

    All in the trio thread and without awaits: every method is atomic.
    """

    def __init__(self) -> None:
        self._clock = 0
        # INVARIANT: these three are ascending by moment, so that the oldest is the first.
        self._under_way: dict[Moment, int] = {}
        self._changes: dict[tuple[str, str], LocalChange[E]] = {}
        self._trees: dict[str, Moment] = {}
        self._hidden: dict[str, set[str]] = {}

    @contextmanager
    def request(self) -> Iterator[Moment]:
        """Keep every change from now on until the request is over."""
        moment = self.begin()
        try:
            yield moment
        finally:
            self.end(moment)

    def begin(self) -> Moment:
        """Note that a request begins; `end` must follow."""
        moment = self._tick()
        self._under_way[moment] = 1
        return moment

    def share(self, moment: Moment, count: int = 1) -> None:
        """Keep a request under way for `count` more: `end` must follow from each of them."""
        self._under_way[moment] += count

    def end(self, moment: Moment) -> None:
        """Note that the answer of the request of `moment` was taken."""
        left = self._under_way[moment] - 1
        if left:
            self._under_way[moment] = left
            return
        del self._under_way[moment]
        oldest = next(iter(self._under_way), Moment(self._clock + 1))
        while self._changes:
            name, change = next(iter(self._changes.items()))
            if change.moment > oldest:
                break
            del self._changes[name]
        while self._trees:
            prefix, renamed = next(iter(self._trees.items()))
            if renamed > oldest:
                break
            del self._trees[prefix]

    def changed(self, prefix: str, name: str, entry: E | None) -> None:
        """Note what a name is now (None: nothing)."""
        hidden = self._hidden.get(prefix)
        if hidden is not None:
            hidden.discard(name)
            if not hidden:
                del self._hidden[prefix]
        if self._under_way:
            self._changes.pop((prefix, name), None)
            self._changes[prefix, name] = LocalChange(self._tick(), entry)

    def tree_changed(self, prefix: str) -> None:
        """Note that everything below `prefix` came or went."""
        if self._under_way:
            self._trees.pop(prefix, None)
            self._trees[prefix] = self._tick()
        for hidden in [hidden for hidden in self._hidden if hidden.startswith(prefix)]:
            del self._hidden[hidden]

    def hide(self, prefix: str, name: str) -> None:
        """Treat a name as absent, whatever the server says, until it is changed again."""
        self.changed(prefix, name, None)
        self._hidden.setdefault(prefix, set()).add(name)

    def is_hidden(self, prefix: str, name: str) -> bool:
        """Whether a name is to be treated as absent."""
        return bool(self._hidden) and name in self._hidden.get(prefix, ())

    def visible(self, prefix: str, entries: Sequence[Named]) -> Sequence[Named]:
        """Return entries of `prefix` without those whose names are hidden."""
        hidden = self._hidden.get(prefix)
        if not hidden:
            return entries
        return [entry for entry in entries if entry.name not in hidden]

    def hidden_in(self, prefix: str) -> int:
        """Return how many names of `prefix` are hidden."""
        return len(self._hidden.get(prefix, ()))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was changed while any request under way was."""
        return not self._changes

    def since(self, moment: Moment, prefix: str, name: str) -> LocalChange[E] | None:
        """Return the change of a name that came after `moment`."""
        change = self._changes.get((prefix, name)) if self._changes else None
        return change if change is not None and change.moment > moment else None

    def all_since(self, moment: Moment, prefix: str) -> dict[str, E | None]:
        """Return every name of directory `prefix` that was changed after `moment`."""
        return {
            name: change.entry
            for (directory, name), change in self._changes.items()
            if directory == prefix and change.moment > moment
        }

    def is_tree_changed_since(self, moment: Moment, prefix: str) -> bool:
        """Whether a directory around `prefix` came or went after `moment`."""
        return any(
            renamed > moment and prefix.startswith(tree) for tree, renamed in self._trees.items()
        )

    def _tick(self) -> Moment:
        self._clock += 1
        return Moment(self._clock)
