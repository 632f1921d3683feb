"""The table of exceptions: documented, proved by tests that exist, and used to the last entry."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TypeGuard

from tests.mounted.clouds import exceptions
from tests.mounted.clouds.exceptions import CLOUDS, EXCEPTIONS, documented

HERE = Path(__file__).parent
SEMANTICS = HERE.parents[2] / "docs" / "semantics.md"


def test_semantics_lists_exactly_these_exceptions() -> None:
    text = SEMANTICS.read_text(encoding="utf-8")
    _, _, section = text.partition("### What differs, by ability\n")
    rows = [row for row in section.partition("\n### ")[0].splitlines() if row.startswith("| ")]
    assert rows == documented()


def test_the_tests_that_show_an_ability_exist() -> None:
    for ability, lacking in EXCEPTIONS.items():
        file, _, test = lacking.test.partition("::")
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        shown = {node.name: ast.unparse(node) for node in tree.body if is_test(node)}
        name = next(n for n, value in vars(exceptions).items() if value == ability)
        assert f"exceptions.{name}" in shown[test], f"{lacking.test} does not ask for {name}"


def is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def test_exceptions_are_of_clouds_and_names_that_the_suite_knows() -> None:
    for lacking in EXCEPTIONS.values():
        assert set(lacking.clouds) <= set(CLOUDS)
    for names in exceptions.REFUSED_NAMES.values():
        assert set(names) <= set(exceptions.ODD_NAMES)
    for keys in exceptions.UNHELD_KEYS.values():
        assert set(keys) <= set(exceptions.KEYS_THAT_ARE_NO_PATHS)
