"""The boundary: every error has its errno, nothing but FUSEError leaves, the mount lives on."""

from __future__ import annotations

import errno
import logging

import pyfuse3
import pytest
import trio

from bucketfs import errors
from bucketfs.counting import causes
from bucketfs.fuse.boundary import ERRNOS, InFlightTable, errno_of, request, unwrapped


def _classes(root: type[errors.BucketfsError]) -> list[type[errors.BucketfsError]]:
    return [root, *(found for child in root.__subclasses__() for found in _classes(child))]


class Door:
    """An object whose handlers do what a test tells them to."""

    def __init__(self, *, deadline_s: float = 600) -> None:
        self.in_flight = InFlightTable(deadline_s)
        self.error: BaseException | None = None

    def pid_of(self, handle: int) -> int:
        return 0

    @request
    async def lookup(self, inode: int) -> int:
        await self._act()
        return inode

    @request
    async def write(self, inode: int) -> int:
        await self._act()
        return inode

    async def _act(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error


def test_every_error_class_has_its_own_line() -> None:
    ours = [kind for kind in _classes(errors.BucketfsError) if kind.__module__ == errors.__name__]
    assert len(ours) > 30
    assert set(ours) == set(ERRNOS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ObjectNotFound("x"), errno.ENOENT),
        (errors.AccessDenied("x"), errno.EACCES),
        (errors.ObjectChanged("x"), errno.ESTALE),
        (errors.QuotaExceeded("x"), errno.ENOSPC),
        (errors.ObjectTooLarge("x"), errno.EFBIG),
        (errors.Transient("x"), errno.EIO),
        (errors.Transient("x", throttled=True), errno.EAGAIN),
        (errors.BucketNotFound("x"), errno.EIO),
        (errors.NotPermitted("x"), errno.EPERM),
    ],
)
def test_the_table_says_what_the_design_says(error: errors.BucketfsError, code: int) -> None:
    assert errno_of(error) == code


def test_a_class_without_a_line_has_that_of_its_base() -> None:
    class Odd(errors.ObjectChanged):
        pass

    assert errno_of(Odd("x")) == errno.ESTALE


async def test_an_answer_passes() -> None:
    door = Door()
    assert await door.lookup(7) == 7
    assert await door.write(8) == 8
    assert len(door.in_flight) == 0


@pytest.mark.parametrize("handler", ["lookup", "write"])
async def test_our_errors_become_errnos(handler: str) -> None:
    door = Door()
    door.error = errors.EntryNotFound("x")
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(door, handler)(1)
    assert caught.value.errno == errno.ENOENT
    assert len(door.in_flight) == 0


async def test_a_group_is_unwrapped() -> None:
    door = Door()
    door.error = ExceptionGroup("outer", [ExceptionGroup("inner", [errors.NoSpace("x")])])
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await door.lookup(1)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.allows_warnings
@pytest.mark.parametrize("handler", ["lookup", "write"])
async def test_a_bug_is_eio_with_a_traceback(
    handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door()
    door.error = ZeroDivisionError("a bug")
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(door, handler)(1)
    assert caught.value.errno == errno.EIO
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_everyday_answers_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.error = errors.DirectoryNotEmpty("x")
    with pytest.raises(pyfuse3.FUSEError):
        await door.write(1)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_cancellation_from_outside_passes(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Door):
        async def _act(self) -> None:
            await trio.sleep(100)

    for handler in ("lookup", "write"):
        door = Slow()
        with trio.move_on_after(1) as scope:
            await getattr(door, handler)(1)
        assert scope.cancelled_caught
        assert len(door.in_flight) == 0


@pytest.mark.allows_warnings
async def test_only_what_changes_nothing_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Door):
        async def _act(self) -> None:
            await trio.sleep(100)

    door = Slow(deadline_s=-1)
    results: dict[str, object] = {}

    async def ask(handler: str) -> None:
        try:
            results[handler] = await getattr(door, handler)(5)
        except pyfuse3.FUSEError as exc:
            results[handler] = exc.errno

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "lookup")
        nursery.start_soon(ask, "write")
        await trio.sleep(1)
        assert {entry["operation"] for entry in door.in_flight.report()} == {"lookup", "write"}
        door.in_flight.sweep()
    assert results == {"lookup": errno.ETIMEDOUT, "write": 5}


def test_a_bug_beside_our_errors_wins() -> None:
    group = ExceptionGroup("", [errors.NoSpace("x"), KeyError("bug")])
    assert isinstance(unwrapped(group), KeyError)


class Context:
    """What pyfuse3 tells of the process that waits."""

    def __init__(self, pid: int) -> None:
        self.pid = pid


class CountingDoor:
    """Handlers as the kernel calls them: with a context, or with a handle only."""

    def __init__(self) -> None:
        self.in_flight = InFlightTable()
        self.seen: list[int] = []
        self.waits = False

    def pid_of(self, handle: int) -> int:
        return 1000 + handle

    @request
    async def open(self, inode: int, flags: int, ctx: Context) -> int:
        return await self._act()

    @request
    async def read(self, fh: int, off: int, size: int) -> bytes:
        await self._act()
        return bytes(size)

    @request
    async def unlink(self, inode: int, ctx: Context) -> None:
        await self._act()
        raise errors.EntryNotFound("x")

    async def _act(self) -> int:
        self.seen.append(causes.current().pid)
        if self.waits:
            causes.note_wait()
        return 7


async def test_the_cause_is_who_waits_or_who_opened_the_handle() -> None:
    door = CountingDoor()
    await door.open(1, 0, Context(42))
    await door.read(5, 0, 10)
    assert door.seen == [42, 1005]


async def test_requests_are_counted_with_what_they_read() -> None:
    door = CountingDoor()
    await door.read(5, 0, 10)
    door.waits = True
    await door.read(5, 0, 20)
    with pytest.raises(pyfuse3.FUSEError):
        await door.unlink(1, Context(1))
    calls = door.in_flight.calls.report()
    read, unlink = calls["read"], calls["unlink"]
    assert (read["requests"], read["hits"], read["bytes"], read["hit_bytes"]) == (2, 1, 30, 10)
    assert (read["errors"], unlink["errors"], unlink["requests"]) == (0, 1, 1)
    assert read["latency_s"]["max"] > 0
