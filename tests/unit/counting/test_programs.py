"""Names of programs: of processes and threads that live, that became others, or that are gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bucketfs.counting import programs as module
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.programs import EXITED, UNKNOWN, Programs


@contextmanager
def running(*command: str) -> Iterator[int]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def own_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


def wait_for_name(programs: Programs, pid: int, name: str) -> None:
    for _ in range(1000):
        if programs.name_of(pid) == name:
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{pid} is {programs.name_of(pid)}, not {name}")


def test_a_process_has_its_name() -> None:
    assert Programs().name_of(os.getpid()) == own_name()


def test_a_thread_has_the_name_of_its_process() -> None:
    """The kernel tells threads: an indexer's workers have names of their own."""
    found: list[str] = []

    def work() -> None:
        number = threading.get_native_id()
        Path(f"/proc/self/task/{number}/comm").write_text("worker-7")
        found.append(Path(f"/proc/{number}/comm").read_text().strip())
        found.append(Programs().name_of(number))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["worker-7", own_name()]


def test_exec_makes_another_program_of_a_process() -> None:
    programs = Programs()
    script = "import os,sys; sys.stdin.read(1); os.execvp('cat', ['cat'])"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    try:
        before = programs.name_of(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        wait_for_name(programs, process.pid, "cat")
        assert before != "cat"
    finally:
        process.kill()
        process.wait()


def test_who_is_gone_keeps_the_name_that_was_seen() -> None:
    programs = Programs()
    with running("cat") as pid:
        wait_for_name(programs, pid, "cat")
    with running("cat") as unseen:
        pass
    assert programs.name_of(pid) == "cat"
    assert programs.name_of(unseen) == EXITED


def test_who_cannot_be_seen(tmp_path: Path) -> None:
    assert Programs().name_of(0) == UNKNOWN
    # As with hidepid=2: the process is there, its folder is not.
    assert Programs(str(tmp_path)).name_of(os.getpid()) == UNKNOWN


def test_a_name_may_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_bytes(b"a\xff\tb\n")
    (tmp_path / "7" / "status").write_bytes(b"Name:\ta\nUmask:\t0022\nTgid:\t7\n")
    assert Programs(str(tmp_path)).name_of(7) == "a\\xff\tb"


def test_few_names_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 3)
    programs = Programs(str(tmp_path))
    for pid in range(11, 16):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_bytes(b"p%d\n" % pid)
        assert programs.name_of(pid) == f"p{pid}"
    shutil.rmtree(tmp_path)
    monkeypatch.setattr(module, "_missing", lambda pid: EXITED)
    names = [programs.name_of(pid) for pid in range(11, 16)]
    assert names == [EXITED, EXITED, "p13", "p14", "p15"]


def test_a_cause_is_looked_for_once() -> None:
    programs = Programs()
    cause = Cause(os.getpid())
    first = programs.of(cause)
    cause.pid = 0
    assert programs.of(cause) is first == Program("program", own_name())


def test_a_settled_cause_outlives_its_process() -> None:
    programs = Programs()
    with running("cat") as pid:
        wait_for_name(programs, pid, "cat")
        settled = programs.settled(Cause(pid))
    assert Programs().of(settled) == Program("program", "cat")
