"""Where a server is known to differ from the contract, by the names of tests (patterns)."""

from __future__ import annotations

from collections.abc import Mapping

_FOLDER = {
    "test_odd_names*double-slash*": "a folder has no empty names",
    "test_odd_names*dot]": "a folder has no file of the name .",
    "test_odd_names*dotdot]": "a folder has no file of the name ..",
    "test_a_file_and_a_directory_of_one_name*": "in a folder a name is one thing",
}

DEVIATIONS: Mapping[str, Mapping[str, str]] = {
    "directory": _FOLDER,
    "sidecars": _FOLDER,
}
