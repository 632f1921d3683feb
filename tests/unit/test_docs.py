"""The documents say what is there: named tests and linked files exist, options are complete."""

from __future__ import annotations

import ast
import errno
import re
from pathlib import Path

import pytest

from bucketfs.options import describe

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
ERRNO_ROW = re.compile(r"^\| `(\w+)` \| (E\w+) \|$", re.MULTILINE)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=named)


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    links = LINK.findall(path.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


@each_document
def test_named_tests_exist(path: Path) -> None:
    missing = [
        f"{file}::{test}"
        for file, test in NAMED_TEST.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / file).exists() or (test and test not in functions_of(ROOT / file))
    ]
    assert missing == []


def test_every_rule_names_its_test() -> None:
    text = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
    rules = text[: text.index("## What the kernel does")]
    rows = [row for row in rules.splitlines() if row.startswith("| ") and row != "| rule | test |"]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED_TEST.search(row)] == []


def test_every_row_of_the_coverage_is_proved_or_explained() -> None:
    text = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| `")]
    assert len(rows) > 400
    assert text.count("\n## Document ") == 5
    assert [row for row in rows if len(row) != 4] == []
    unproved = [row for row in rows if not NAMED_TEST.fullmatch(row[3])]
    assert [row for row in unproved if not row[2].startswith(("later", "nothing"))] == []


def test_every_option_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert f"```\n{describe()}\n```" in text


def test_the_errno_table_is_that_of_the_code() -> None:
    boundary = pytest.importorskip("bucketfs.fuse.boundary")
    text = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
    documented = {name: getattr(errno, symbol) for name, symbol in ERRNO_ROW.findall(text)}
    assert documented == {kind.__name__: number for kind, number in boundary.ERRNOS.items()}


@pytest.mark.parametrize(
    "name", ["quickstart", "test", "check", "bench", "crash", "screens", "setup.sh"]
)
def test_scripts_can_be_run(name: str) -> None:
    script = ROOT / "scripts" / name
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_ci_runs_the_test_command() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "exec scripts/test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
