"""The shape of the house: which way imports go, how large things may be, who may do what.

The rules are those of docs/architecture.md; each test names what broke one.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bucketfs import errors

PACKAGE = Path(__file__).parent.parent / "bucketfs"
FILES = sorted(PACKAGE.rglob("*.py"))

FILE_LINES = 400
FUNCTION_LINES = 40
PUBLIC_METHODS = 15

RANKS = {
    "cli": 0,
    "__main__": 0,
    "options": 1,
    "values": 1,
    "mount": 2,
    "served": 2,
    "layers": 2,
    "fuse": 3,
    "control": 3,
    "namespace": 4,
    "pagecache": 4,
    "storage": 5,
    "transport": 6,
    "counting": 7,
}
"""The layers from the person to the wire; a layer may import itself and what has a higher rank."""

LEAVES = {"", "errors", "logs", "workers"}
"""Open to all; "" is the package itself (its version)."""

STRANGERS = [("namespace", "pagecache"), ("pagecache", "namespace"), ("control", "fuse")]
"""Layers that never import each other although their ranks would not forbid it."""

SETTINGS_READERS = {"cli", "mount", "served", "layers", "options", "__main__"}
FORBIDDEN_NAMES = {"common", "utils", "util", "helpers", "helper", "misc", "manager", "base"}
ENVIRONMENT_READERS = {"cli", "settings.py", "options.py", "logs.py", "control"}
ENVIRONMENT_READING_FILES = {"credentials.py", "location.py"}
"""Where the variables are read that every client of a cloud knows."""


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = ["bucketfs", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """Return the first part below the package: the layer, or a module of its own."""
    return module.split(".")[1] if "." in module else ""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Yield every module that a file imports, wherever it does; relative ones made absolute."""
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped.update(ast.walk(node))
    for node in ast.walk(tree_of(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute_origin(path, node)
            for alias in node.names:
                named = f"{origin}.{alias.name}"
                yield named if named in MODULES else origin


def absolute_origin(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ["bucketfs", *path.relative_to(PACKAGE).parts[:-1]]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


MODULES = {module_of(path) for path in FILES}


def named(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


each_file = pytest.mark.parametrize("path", FILES, ids=named)


@each_file
def test_imports_go_downward(path: Path) -> None:
    layer = layer_of(module_of(path))
    if layer in LEAVES or layer == "settings":
        return
    for module in imports_of(path):
        if not module.startswith("bucketfs"):
            continue
        target = layer_of(module)
        if target in LEAVES or target == layer:
            continue
        if target == "settings":
            assert layer in SETTINGS_READERS, f"{named(path)} reads the settings"
            continue
        assert RANKS[layer] <= RANKS[target], f"{named(path)} imports {module}: upward"
        assert (layer, target) not in STRANGERS, f"{named(path)} imports {module}: strangers"


@each_file
def test_leaves_import_nothing_of_the_package(path: Path) -> None:
    if layer_of(module_of(path)) in LEAVES:
        assert [name for name in imports_of(path) if name.startswith("bucketfs")] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        module_of(path): {name for name in imports_of(path, at_run_time=True) if name in MODULES}
        - {module_of(path)}
        for path in FILES
    }
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"circles among {sorted(graph)}"


@each_file
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, docstring included, without decorators."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


@each_file
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of(node) <= FUNCTION_LINES, f"{node.name} has {lines_of(node)} lines"


@each_file
def test_classes_are_narrow(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ClassDef) or is_kernel_door(node):
            continue
        public = [
            item.name
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            and not item.name.startswith("_")
            and not is_property(item)
        ]
        assert len(public) <= PUBLIC_METHODS, f"{node.name} has {len(public)}: {public}"


def is_kernel_door(node: ast.ClassDef) -> bool:
    """Return whether the class is pyfuse3's table of requests, whose width is the kernel's."""
    return any("Operations" in ast.unparse(base) for base in node.bases)


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorators = {ast.unparse(item) for item in function.decorator_list}
    return any(item == "property" or item.endswith(".setter") for item in decorators)


@each_file
def test_modules_say_what_they_are(path: Path) -> None:
    is_empty = not tree_of(path).body
    assert is_empty or ast.get_docstring(tree_of(path)), f"{named(path)} has no docstring"


@each_file
def test_what_is_public_is_documented(path: Path) -> None:
    for node in public_definitions(tree_of(path)):
        assert ast.get_docstring(node), f"{named(path)}: {node.name} has no docstring"


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    for item in node.body:
        if not isinstance(item, Definition) or item.name.startswith("_"):
            continue
        if isinstance(item, ast.ClassDef):
            yield from public_definitions(item)
        if not (isinstance(item, ast.FunctionDef) and is_property(item)):
            yield item


@each_file
def test_modules_are_named_after_what_they_hold(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Base", "Helper", "Util")), node.name


def users_of(module: str) -> set[str]:
    """Return the files that import `module` or something below it."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for name in imports_of(path)
        if name == module or name.startswith(f"{module}.")
    }


def test_only_the_client_knows_requests() -> None:
    assert users_of("requests") == {"transport/client.py"}


def test_only_the_kernel_door_knows_pyfuse3() -> None:
    assert {user.split("/")[0] for user in users_of("pyfuse3")} <= {"fuse", "mount.py"}


def test_names_and_dialects_know_no_errno() -> None:
    """Errnos are made in fuse/boundary.py and read where the local disk or a socket fails."""
    wrong = {user for user in users_of("errno") if user.startswith(("namespace", "storage/s3"))}
    assert not wrong


@each_file
def test_only_persons_layer_prints_asks_or_exits(path: Path) -> None:
    if layer_of(module_of(path)) == "cli":
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "input", "exit"}, f"line {node.lineno}"


@each_file
def test_only_some_read_the_environment(path: Path) -> None:
    place = path.relative_to(PACKAGE)
    if place.parts[0] in ENVIRONMENT_READERS or place.name in ENVIRONMENT_READING_FILES:
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "argv"}:
            pytest.fail(f"{named(path)}:{node.lineno} reads {node.attr}")


def test_every_error_class_has_an_errno() -> None:
    boundary = pytest.importorskip("bucketfs.fuse.boundary")
    classes = {
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, errors.BucketfsError)
    }
    assert classes - set(boundary.ERRNOS) == set()
