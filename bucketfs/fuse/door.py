"""The door: shut while the mount is being ended, so that what is being saved comes to an end.

A mount whose door is shut is as one that was remounted read-only: EROFS for every change but those
through files that are open for writing already, which their programs may finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bucketfs.errors import ReadOnly
from bucketfs.namespace.nodes import Node


class Door:
    """Lets changes in or not. Used in trio's thread only."""

    def __init__(self) -> None:
        self._shut_by = 0

    @property
    def is_shut(self) -> bool:
        """Whether changes are refused now."""
        return self._shut_by > 0

    def check(self, node: Node | None = None) -> None:
        """Let a change in; `node` is the file that it is of, None: a name.

        Raises: ReadOnly (the mount is being ended, and nobody is writing to that file).
        """
        if self._shut_by and (node is None or not node.writers):
            raise ReadOnly("the mount is being unmounted: everything is being saved")

    def shut_for_good(self) -> None:
        """Refuse changes from now on."""
        self._shut_by += 1

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Refuse changes for the time of the block; blocks may overlap."""
        self._shut_by += 1
        try:
            yield
        finally:
            self._shut_by -= 1
