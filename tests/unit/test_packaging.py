"""What is packed: every module that is imported is declared, and both archives install and run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = {"libcloud": "libcloud", "botocore": "aws"}
"""Imported module -> the extra that brings it."""
PACKAGE_OF = {"libcloud": "apache-libcloud"}


def imported() -> set[str]:
    """Return the top names of everything that the package imports and Python does not bring."""
    found = set()
    for file in (ROOT / "bucketfs").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"bucketfs"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {PACKAGE_OF.get(name, name) for name in imported()}
    declared = names(project["dependencies"])
    for module, extra in OPTIONAL.items():
        package = PACKAGE_OF.get(module, module)
        declared |= names(project["optional-dependencies"][extra]) & {package}
    assert needed == declared


def test_the_script_can_be_run() -> None:
    assert (ROOT / "scripts" / "package").stat().st_mode & 0o111


@pytest.mark.campaign
def test_wheel_and_source_archive_install_and_run(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "package", tmp_path], check=True, timeout=900)
    kinds = sorted(file.suffix for file in tmp_path.iterdir())
    assert kinds == [".gz", ".whl"]
