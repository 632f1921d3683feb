"""What `bucketfs stats` says: lines for scripts, rates between two reports, words for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bucketfs.cli import stats as module
from bucketfs.cli.intervals import RATES, rates
from bucketfs.cli.stats import money_words, plain_rows, program_words, show_stats, time_words
from bucketfs.control import ControlClient
from bucketfs.counting import causes
from bucketfs.counting.calls import Calls
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.statistics import Statistics
from bucketfs.errors import ConfigurationError


class Counters:
    """The counters of a mount that does what a test says."""

    def __init__(self, scheme: str = "cos") -> None:
        self.statistics = Statistics(scheme=scheme)
        self.calls = Calls()
        self.uptime_s = 10.0

    def ask(self, operation: str, program: str, count: int = 1, **sizes: int) -> None:
        for _ in range(count):
            with (
                causes.acting(Cause(0, Program("program", program))),
                self.statistics.meter.counting(operation) as asked,
            ):
                asked.answered(200)
                for name, size in sizes.items():
                    setattr(asked, name, size)

    def report(self) -> dict[str, Any]:
        budgets = {
            name: {"used": number, "limit": 100}
            for number, name in enumerate(("memory_bytes", "disk_bytes", "requests"))
        }
        report = self.statistics.report(self.calls, budgets)
        place = {"url": "cos://b", "mountpoint": "/m", "pid": 1, "version": "1"}
        # As it comes over the socket.
        found: dict[str, Any] = json.loads(json.dumps({**place, **report}))
        found["uptime_s"] = self.uptime_s
        return found


def test_a_disk_cache_has_its_lines() -> None:
    report = Counters().report()
    assert not [row for row in plain_rows(report) if row[0] == "cache"]
    assert not [line for line in module._closing_lines(report) if "disk cache" in line]
    report["budgets"]["read_cache_bytes"] = {"used": 3 << 20, "limit": 1 << 30}
    report["pages"] = {
        "memory_bytes": 5,
        "cached_bytes": 3 << 20,
        "cached_blocks": 3,
        "cache_hits": 1,
        "cache_misses": 2,
        "cache_hit_bytes": 1 << 20,
    }
    rows = [row for row in plain_rows(report) if row[0] == "cache"]
    assert [row[1:] for row in rows] == [
        ("cached_bytes", "3145728"),
        ("cached_blocks", "3"),
        ("cache_hits", "1"),
        ("cache_misses", "2"),
        ("cache_hit_bytes", "1048576"),
    ]
    assert (
        "disk cache: 3.0 MiB of 1.0 GiB in 3 blocks; "
        "1 read (1.0 MiB) answered by it, 2 by the store" in module._closing_lines(report)
    )


def test_lines_have_as_many_columns_as_the_help_says() -> None:
    counters = Counters()
    counters.ask("stat", "a\tb")
    counters.calls.done("lookup", 0.5, 0, False, False)
    rows = [list(row) for row in plain_rows(counters.report())]
    widths = {"uptime_s": 3, "store": 11, "program": 6, "kernel": 11, "budget": 4, "bill": 6}
    assert {row[0] for row in rows} == widths.keys()
    assert all(len(row) == widths[row[0]] for row in rows)
    (program,) = [row for row in rows if row[0] == "program"]
    assert program[1] == "a\\tb", "a name cannot make a column"
    assert "e-" not in "".join(row[-1] for row in rows), "awk reads every number"


def test_rates_are_of_the_time_between() -> None:
    counters = Counters()
    counters.ask("stat", "ls", count=10)
    counters.calls.done("lookup", 0.1, 0, True, False)
    before = counters.report()
    counters.ask("write", "cp", count=4, sent_bytes=100)
    for has_waited in (True, False, False, False):
        counters.calls.done("lookup", 0.1, 0, has_waited, False)
    counters.uptime_s += 2.0
    found = rates(before, counters.report())
    assert (found["requests_s"], found["sent_bytes_s"], found["kernel_s"]) == (2.0, 200.0, 2.0)
    assert (found["lookup_hits"], found["read_hits"]) == (0.75, None)
    assert (found["in_flight"], found["memory_bytes"]) == (2, 0)
    assert list(found) == list(RATES)


def test_rates_of_a_first_request() -> None:
    counters = Counters()
    before = counters.report()
    counters.ask("stat", "ls")
    counters.uptime_s += 1.0
    assert rates(before, counters.report())["requests_s"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 us"), (0.0000851, "85 us"), (0.0034, "3.4 ms"), (0.9999, "999.9 ms"), (1.25, "1.2 s")],
)
def test_times(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0.00"), (0.00012345, "0.000123"), (1, "1.00"), (1234.567, "1234.57")]
)
def test_money(amount: float, words: str) -> None:
    assert money_words(amount) == words


def test_the_mounts_own_work_stands_in_parentheses() -> None:
    assert program_words({"kind": "program", "name": "cat\x1b[2J"}) == "cat\\x1b[2J"
    assert program_words({"kind": "mount", "name": "replay"}) == "(replay)"
    assert program_words({"kind": "others", "name": "others"}) == "(others)"


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Counters:
    """A mount that answers, as far as the command can tell."""
    counters = Counters()
    monkeypatch.setattr(module, "mounted_at", lambda place: place)
    monkeypatch.setattr(ControlClient, "statistics", lambda self: counters.report())
    return counters


def test_a_terminal_gets_tables(
    mounted: Counters, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    for number in range(20):
        mounted.ask("begin_upload", f"program-{number}", count=number + 1, sent_bytes=1 << 20)
    mounted.calls.done("read", 0.001, 10, False, False)
    assert show_stats(Path("/m"), is_json=False, interval_s=None) == 0
    said = capsys.readouterr().out
    for words in ("begin_upload", "program-19", "and 5 more programs", "10 B of it", "CNY"):
        assert words in said
    assert "program-3 " not in said
    assert max(map(len, said.splitlines()[:30])) <= 80


def test_a_bucket_without_prices(
    mounted: Counters, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mounted.statistics = Statistics(scheme="file")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_stats(Path("/m"), is_json=False, interval_s=None)
    assert "prices=FILE" in capsys.readouterr().out


def test_an_interval_ends_with_the_mount(
    mounted: Counters, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [3]

    def statistics(self: ControlClient) -> dict[str, Any]:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionRefusedError
        mounted.uptime_s += 1
        return mounted.report()

    monkeypatch.setattr(ControlClient, "statistics", statistics)
    assert show_stats(Path("/m"), is_json=False, interval_s=0.01) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [len(line.split("\t")) for line in lines] == [9, 9]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "does not answer"),
        (FileNotFoundError(), "is gone, and what it had counted"),
    ],
)
def test_a_mount_that_does_not_answer(
    mounted: Counters, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def statistics(self: ControlClient) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(ControlClient, "statistics", statistics)
    with pytest.raises(ConfigurationError, match=said):
        show_stats(Path("/m"), is_json=True, interval_s=None)
