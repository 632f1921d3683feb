"""What `bucketfs warmup` asks and says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.cli import warming
from bucketfs.cli.warming import describe, warm_up
from bucketfs.errors import ConfigurationError

DONE: dict[str, Any] = {
    "files": 2,
    "bytes": 3 << 20,
    "files_found": 2,
    "bytes_found": 3 << 20,
    "is_listed": True,
    "skipped_files": 0,
    "skipped_bytes": 0,
    "failed_files": 0,
    "stopped": None,
    "limit_bytes": 1 << 30,
    "failed": [],
}
UNDONE = {name: value for name, value in DONE.items() if name != "failed"} | {"files": 0}


@given(st.lists(st.lists(st.text(min_size=1, max_size=200)), min_size=1))
def test_questions_are_short_and_complete(paths: list[list[str]]) -> None:
    questions = list(warming._questions(paths))
    assert [path for some in questions for path in some] == paths
    assert all(len(json.dumps(some)) <= 60_000 for some in questions if len(some) > 1)


def test_progress_in_words() -> None:
    assert describe(DONE) == "fetched 2 of 2 files"
    report = {**DONE, "files": 0, "files_found": 1, "is_listed": False}
    assert describe(report) == "fetched 0 of 1 file, looking for more"


class Client:
    """Answers as a mount does."""

    answers: ClassVar[list[list[dict[str, Any]]]] = []

    def __init__(self, place: Path) -> None:
        """Take any mount."""

    def status(self) -> dict[str, Any]:
        return {}

    def warm_up(self, paths: list[list[str]]) -> Any:
        return (answer for answer in self.answers.pop(0))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setattr(warming, "client_of", Client)
    monkeypatch.setattr(warming, "mount_of", lambda path: (Path("/m"), [path.name]))
    monkeypatch.setattr(warming, "names_on", lambda place, path: [path.name])
    return Client


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        (
            {"failed_files": 1, "failed": [{"path": "/a\n", "reason": "403"}]},
            "bucketfs: not cached: /a\\n: 403\nbucketfs: error: 1 file could not be cached\n",
        ),
        (
            {"skipped_files": 3, "skipped_bytes": 5 << 30},
            "bucketfs: error: the disk cache of 1.0 GiB is too small for 3 files (5.0 GiB): "
            "see read_cache=\n",
        ),
        ({"stopped": "the disk is full"}, "bucketfs: error: stopped: the disk is full\n"),
    ],
)
def test_what_is_not_cached_is_said(
    client: type[Client], changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.answers = [[UNDONE, {**DONE, **changes}]]
    assert warm_up([Path("a"), Path("b")]) == (1 if changes else 0)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("2 files (3.0 MiB) in the disk cache\n", said)


def test_a_mount_that_ends_meanwhile_is_an_error(client: type[Client]) -> None:
    client.answers = [[UNDONE]]
    with pytest.raises(ConfigurationError, match="ended while it was warming up"):
        warm_up([Path("a")])
