"""An object's attributes as Kodo keeps them; pure.

Metadata are fields `x-qn-meta-NAME`. Kodo documents a small alphabet for their values, without `%`
and `?`; what does not fit is written as `=b;` and URL-safe base64. It documents how fields are set,
not how one is taken away: a field that is to be absent is set to `=x;`, which is read as absent.
Fields whose name begins with `!` are Kodo's own (headers of downloads) and left as they are.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from bucketfs.errors import InvalidRequest
from bucketfs.storage.interface import ObjectAttributes

PREFIX = "x-qn-meta-"
MAX_BYTES = 1024
"""Of the names and values of one object together."""
DEFAULT_TYPE = "application/octet-stream"

_NAME = re.compile(r"!?[0-9A-Za-z_-]{1,50}")
_PLAIN = re.compile(r"[0-9A-Za-z.+/;=,_ -]*")
_TYPE = re.compile(r"[0-9A-Za-z.+/;=,_ -]{1,200}")
_ENCODED = "=b;"
_REMOVED = "=x;"
_OWN_MARK = "!"

STORAGE_CLASSES = (
    "standard",
    "infrequent-access",
    "archive",
    "deep-archive",
    "archive-direct-read",
    "intelligent-tiering",
)
"""Names of Kodo's file types, each at its number."""


def fields_of(attributes: ObjectAttributes, stored: Iterable[str] = ()) -> dict[str, str]:
    """Return the fields that store the metadata, with their prefix.

    `stored` are names that the object has already: those that it is to lose are set to absent.
    Raises: InvalidRequest (impossible names, or too much).
    """
    fields = {}
    for name, value in attributes.metadata.items():
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} cannot be the name of object metadata at Kodo")
        fields[name.lower()] = value if name.startswith(_OWN_MARK) else encode_value(value)
    for name in stored:
        if name not in fields and _NAME.fullmatch(name) and not name.startswith(_OWN_MARK):
            fields[name] = _REMOVED
    used_bytes = sum(len(name) + len(value.encode()) for name, value in fields.items())
    if used_bytes > MAX_BYTES:
        raise InvalidRequest(
            f"the metadata need {used_bytes} bytes, and Kodo has room for {MAX_BYTES}"
        )
    return {PREFIX + name: value for name, value in fields.items()}


def parse_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of fields (names without their prefix), as the seam has them."""
    return {
        name.lower(): value if name.startswith(_OWN_MARK) else decode_value(value)
        for name, value in fields.items()
        if value != _REMOVED
    }


def content_type_of(attributes: ObjectAttributes) -> str:
    """Return the type to store. Raises: InvalidRequest (not in Kodo's alphabet)."""
    content_type = attributes.content_type or DEFAULT_TYPE
    if not _TYPE.fullmatch(content_type):
        raise InvalidRequest(f"{content_type!r} cannot be a content type at Kodo")
    return content_type


def encode_value(value: str) -> str:
    """Return a value in Kodo's alphabet; `decode_value` gives the same text back."""
    if value and value == value.strip() and _PLAIN.fullmatch(value) and not _is_marked(value):
        return value
    data = value.encode("utf-8", "surrogateescape")
    return _ENCODED + base64.urlsafe_b64encode(data).decode()


def decode_value(value: str) -> str:
    """Return the text that a value stands for; what cannot be read stays as it is."""
    if not value.startswith(_ENCODED):
        return value
    try:
        data = base64.b64decode(value[len(_ENCODED) :], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return value
    return data.decode("utf-8", "surrogateescape")


def storage_class_name(file_type: int) -> str | None:
    """Return the name of a file type; None for the standard one, as everywhere."""
    if file_type == 0:
        return None
    known = 0 < file_type < len(STORAGE_CLASSES)
    return STORAGE_CLASSES[file_type] if known else f"type-{file_type}"


def _is_marked(value: str) -> bool:
    return value.startswith((_ENCODED, _REMOVED))
