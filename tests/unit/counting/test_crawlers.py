"""Crawlers: known by name, told once, and in nobody else's way."""

from __future__ import annotations

import logging
import os

import pytest

from bucketfs.counting import crawlers as module
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.crawlers import KNOWN, Crawlers, Mode, known_names
from bucketfs.counting.programs import Programs
from bucketfs.errors import CallerRefused

pytestmark = pytest.mark.allows_warnings


class Named(Programs):
    """Processes whose names a test chooses."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names
        self.looks = 0

    def name_of(self, pid: int) -> str:
        self.looks += 1
        return self.names[pid]


NAMES = {1: "bash", 2: "updatedb.mlocat", 3: "tracker-miner-f", 4: "find"}


def of(mode: Mode = "refuse", *also: str) -> tuple[Crawlers, Named]:
    programs = Named(dict(NAMES))
    return Crawlers(programs, mode, also), programs


@pytest.mark.parametrize("pid", [2, 3])
def test_names_are_known_as_the_kernel_cuts_them(pid: int) -> None:
    crawlers, _ = of()
    with pytest.raises(CallerRefused):
        crawlers.check_open(pid)
    assert not crawlers.admits(Cause(pid))


def test_everybody_else_is_let_in() -> None:
    crawlers, _ = of()
    crawlers.check_open(1, is_writer=True)
    assert crawlers.admits(Cause(1))
    assert crawlers.admits(Cause(0, Program("mount", "updatedb")))
    assert crawlers.report() == {"mode": "refuse", "refused": {}}


def test_others_can_be_named() -> None:
    crawlers, _ = of("refuse", "find")
    assert not crawlers.admits(Cause(4))
    assert of()[0].admits(Cause(4))


def test_cached_opens_for_reading_only_and_asks_for_nothing() -> None:
    crawlers, _ = of("cached")
    crawlers.check_open(2)
    with pytest.raises(CallerRefused):
        crawlers.check_open(2, is_writer=True)
    assert not crawlers.admits(Cause(2))


def test_one_line_for_each_program(caplog: pytest.LogCaptureFixture) -> None:
    crawlers, _ = of()
    with caplog.at_level(logging.WARNING):
        for pid in (2, 3, 2, 2):
            assert not crawlers.admits(Cause(pid))
    assert [record.args[0] for record in caplog.records] == [NAMES[2], NAMES[3]]  # type: ignore[index]
    assert "crawlers=allow" in caplog.text
    assert crawlers.report()["refused"] == {NAMES[2]: 3, NAMES[3]: 1}


def test_a_process_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    crawlers, programs = of()
    now = [100.0]
    monkeypatch.setattr("bucketfs.counting.crawlers.time.monotonic", lambda: now[0])
    for _ in range(50):
        crawlers.check_open(1)
    assert programs.looks == 1
    now[0] += 1.5
    programs.names[1] = "updatedb"  # it has become another program
    with pytest.raises(CallerRefused):
        crawlers.check_open(1)


def test_few_processes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BELIEVED", 2)
    crawlers, programs = of()
    for pid in (1, 4, 1, 4):
        crawlers.check_open(pid)
    assert programs.looks == 2
    programs.names[5] = "cat"
    crawlers.check_open(5)
    crawlers.check_open(1)
    assert programs.looks == 4


def test_the_test_run_is_no_crawler() -> None:
    crawlers = Crawlers(Programs(), "refuse")
    crawlers.check_open(os.getpid())


def test_common_programs_are_none() -> None:
    innocent = {"bash", "find", "ls", "cat", "cp", "rsync", "tar", "python3", "git", "grep", "smbd"}
    assert not innocent & set(known_names())
    assert len(known_names()) == len(set(known_names()))
    assert all(KNOWN.values())
