"""What not every cloud can do: the one table of where the suite expects another outcome, and why.

A test that shows an ability is marked `@pytest.mark.shows(ABILITY)`: over the clouds that the table
excepts it must fail (strictly, so that a cure shows). Where the rest of a test holds everywhere, it
asks `place.lacks(ABILITY)` and expects what the table says instead. docs/semantics.md prints the
table; test_exceptions.py compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

CLOUDS = ("s3", "cos", "bos", "kodo", "libcloud-local", "libcloud-minio")
"""What the suite runs over: emulated clouds, radosgw, a folder, the JuiceFS gateway."""

METADATA = "metadata"
DIRECTORY_METADATA = "metadata of directories"
CACHE_CONTROL = "Cache-Control"
CONTENT_ENCODING = "Content-Encoding"
STREAMING = "parts that are sent while a file is being written"
PART_COPY = "copies of parts"
FRESH_LOOK = "a look before every write"
SHOWN_METADATA = "listings that show a change of attributes alone"


@dataclass(frozen=True)
class Exceptions:
    """Which clouds lack an ability, each with its reason, and the test that shows the ability."""

    clouds: Mapping[str, str]
    test: str


EXCEPTIONS: Mapping[str, Exceptions] = {
    METADATA: Exceptions(
        {"libcloud-local": "the local driver keeps bytes only: no types, symlinks, fifos either"},
        "test_objects.py::test_attributes_survive_a_remount",
    ),
    DIRECTORY_METADATA: Exceptions(
        {
            "libcloud-local": "the local driver keeps bytes only",
            "libcloud-minio": "the JuiceFS gateway keeps none of markers",
        },
        "test_objects.py::test_attributes_of_a_directory_survive_a_remount",
    ),
    CACHE_CONTROL: Exceptions(
        {
            "kodo": "Kodo has none beside an object",
            "libcloud-local": "the local driver keeps bytes only",
        },
        "test_objects.py::test_cache_control_of_others_is_kept",
    ),
    CONTENT_ENCODING: Exceptions(
        {
            "kodo": "Kodo has none beside an object",
            "libcloud-local": "the local driver keeps bytes only",
            "libcloud-minio": "the JuiceFS gateway keeps none",
        },
        "test_objects.py::test_content_encoding_of_others_is_kept",
    ),
    STREAMING: Exceptions(
        {
            "kodo": "parts are sent, but Kodo lists no unfinished uploads",
            "libcloud-local": "Libcloud sends whole objects, when they are complete",
            "libcloud-minio": "Libcloud sends whole objects, when they are complete",
        },
        "test_large_files.py::test_a_large_file_is_sent_by_parts",
    ),
    PART_COPY: Exceptions(
        {
            "kodo": "Kodo copies no parts: an edit sends all of the file",
            "libcloud-local": "Libcloud copies nothing: an edit sends all of the file",
            "libcloud-minio": "Libcloud copies nothing: an edit sends all of the file",
        },
        "test_large_files.py::test_an_edit_of_a_large_file_sends_what_changed",
    ),
    FRESH_LOOK: Exceptions(
        {"kodo": "what the mount saw or wrote itself is believed for a second"},
        "test_others.py::test_a_lost_update_is_refused",
    ),
    SHOWN_METADATA: Exceptions(
        {
            "kodo": "chgm leaves hash and time as they are: seen after a minute",
            "libcloud-local": "the local driver keeps bytes only",
        },
        "test_others.py::test_a_change_of_attributes_alone_is_seen",
    ),
}
"""Ability -> the clouds that are excepted. A test shows each of them."""

ODD_NAMES = (
    "with space",
    " around ",
    "percent%2Fplus+and&equal=",
    "ünïcödé 日本 🌍",
    "new\nline",
    "tab\t",
    "bell\a",
    "quote'\"`$(x)<>",
    "back\\slash",
    "#hash?query;colon:",
    "...",
    "~tilde!*(),",
    "at@sign",
    "not UTF-8 \udcff\udcfe",
    "x" * 255,
)
"""Names that a file may have wherever `REFUSED_NAMES` does not say otherwise."""

_KEYS_ARE_TEXT = {"not UTF-8 \udcff\udcfe": "keys are UTF-8"}

REFUSED_NAMES: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(CLOUDS, _KEYS_ARE_TEXT),
    "bos": {**_KEYS_ARE_TEXT, "at@sign": "@ begins an order to process an image"},
    "libcloud-minio": {
        **_KEYS_ARE_TEXT,
        "bell\a": "Libcloud reads no listing with control characters",
    },
}
"""Cloud -> names that are EINVAL there, and why."""

KEYS_THAT_ARE_NO_PATHS: Mapping[str, bytes] = {
    "a//b": b"an empty name",
    "marked/": b"a marker with content",
    "marked/f": b"below it",
    "both": b"a file beside a directory of its name",
    "both/f": b"below it",
    "up/../f": b"dots",
    "./f": b"a dot",
    "/f": b"an empty name first",
    "k" * 300: b"a long name",
}
"""Keys and bodies that other clients may put wherever `UNHELD_KEYS` does not say otherwise."""

_FOLDERS = {
    "a//b": "a folder has no empty names",
    "/f": "a folder has no empty names",
    "both": "in a folder a name is a file or a directory",
    "up/../f": "a folder has no file of the name ..",
    "./f": "a folder has no file of the name .",
    "k" * 300: "a folder has no names over 255 bytes",
}

UNHELD_KEYS: Mapping[str, Mapping[str, str]] = {
    "bos": {"up/../f": "BOS refuses .. as a name", "./f": "BOS refuses . as a name"},
    "libcloud-local": _FOLDERS,
    "libcloud-minio": {**_FOLDERS, "marked/": "the JuiceFS gateway keeps markers empty"},
}
"""Cloud -> keys that no client can put there, and why."""


def documented() -> list[str]:
    """Return the rows of docs/semantics.md that tell all of this (test_exceptions.py compares)."""
    return [
        "| rule | test |",
        *(_row(name, lacking.clouds.items(), lacking.test) for name, lacking in EXCEPTIONS.items()),
        _row("names that are refused (EINVAL)", _told(REFUSED_NAMES), _NAMES_TEST),
        _row("keys that no client can put", _told(UNHELD_KEYS), _KEYS_TEST),
    ]


_NAMES_TEST = "test_names.py::test_names_that_the_cloud_cannot_hold_are_refused"
_KEYS_TEST = "test_names.py::test_keys_that_are_no_paths_can_be_reached"


def _told(table: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for cloud, names in table.items():
        for reason in dict.fromkeys(names.values()):
            yield cloud, reason


def _row(what: str, reasons: Iterable[tuple[str, str]], test: str) -> str:
    clouds: dict[str, list[str]] = {}
    for cloud, reason in reasons:
        clouds.setdefault(reason, []).append(cloud)
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in clouds.items())
    return f"| {what[0].upper()}{what[1:]}. {told}. | `tests/mounted/clouds/{test}` |"
