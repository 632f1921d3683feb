"""Causes: on whose behalf the work is done that goes on now.

The kernel's door sets the cause of each request that it takes: the process that waits for it. Work
that nobody waits for has a name of its own. Tasks and worker threads inherit the cause of the one
that began them (a `ContextVar`), so that a read-ahead is its reader's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, Protocol

from bucketfs.errors import CallerRefused

Kind = Literal["program", "mount", "others"]


class Program(NamedTuple):
    """Who causes requests: a program, or the mount itself by the name of its work."""

    kind: Kind
    name: str


class Admission(Protocol):
    """Says who may open what, and cause requests to the store; `crawlers.Crawlers` is one."""

    def admits(self, cause: Cause) -> bool:
        """Return whether a request may be made for `cause`."""

    def check_open(self, pid: int, *, is_writer: bool = False) -> None:
        """Let a process open something. Raises: CallerRefused."""


class Cause:
    """What requests are made for: process `pid`, or `program` once that is known.

    `has_waited`: the store was asked for it, or it waited for somebody else's request.
    `admission` None: whatever it needs is asked for.
    """

    __slots__ = ("admission", "has_waited", "pid", "program")

    def __init__(
        self, pid: int, program: Program | None = None, admission: Admission | None = None
    ) -> None:
        self.pid = pid
        self.program = program
        self.admission = admission
        self.has_waited = False


_OTHER = Program("mount", "other")
_current: ContextVar[Cause | None] = ContextVar("cause", default=None)

enter = _current.set
"""Make a cause that of this task, and of those that it begins, from now on."""


def current() -> Cause:
    """Return the cause of what goes on now."""
    return _current.get() or Cause(0, _OTHER)


def note_wait() -> None:
    """Note that what goes on now waits for a request to the store."""
    cause = _current.get()
    if cause is not None:
        cause.has_waited = True


def may_ask() -> bool:
    """Return whether the store may be asked for what goes on now."""
    cause = _current.get()
    return cause is None or cause.admission is None or cause.admission.admits(cause)


def check_may_ask() -> None:
    """Make sure that the store may be asked. Raises: CallerRefused."""
    if not may_ask():
        raise CallerRefused("this program may cause no requests (crawlers=)")


@contextmanager
def acting(cause: Cause) -> Iterator[None]:
    """Let what goes on in the block be for `cause`."""
    token = _current.set(cause)
    try:
        yield
    finally:
        _current.reset(token)


def own(name: str) -> Cause:
    """Return the cause of work that the mount does by itself."""
    return Cause(0, Program("mount", name))


async def attributed(name: str, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Do work of the mount itself under its name; for `start_soon`."""
    enter(own(name))
    await work(*arguments)
