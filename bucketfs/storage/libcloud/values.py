"""Libcloud's objects <-> what the seam calls an object's info and attributes. Pure."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bucketfs.errors import InvalidKey, NotSupported
from bucketfs.storage.headers import (
    attribute_headers,
    decode_value,
    encode_value,
    seconds_ns,
    version_of,
)
from bucketfs.storage.interface import ObjectAttributes, ObjectInfo, Version
from bucketfs.storage.key_order import key_bytes
from bucketfs.storage.libcloud.drivers import Traits

MARKER_NAME = ".bucketfs-directory"
"""Name of the empty file that is the marker `d/` where no key may end with a slash: `d/` + this."""

MAX_KEY = 1024
_XML_TEXT = re.compile("[\t\n\\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_KEPT_MARK = ":"


def name_of(key: str, traits: Traits, operation: str) -> str:
    """Return the object's name for a driver. Raises: InvalidKey.

    Libcloud joins its URLs as a browser does, which makes `a//b` and `a/./b` into `a/b`; and one
    key that XML cannot carry would break every listing that holds it.
    """
    if len(key_bytes(key)) > MAX_KEY:
        raise InvalidKey(f"longer than {MAX_KEY} bytes", key=key, operation=operation)
    segments = key.removesuffix("/").split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise InvalidKey("Libcloud would change this key", key=key, operation=operation)
    if any("\ud800" <= char <= "\udfff" for char in key):
        raise InvalidKey("Libcloud takes keys in UTF-8 only", key=key, operation=operation)
    if not traits.is_local:
        if not _XML_TEXT.fullmatch(key):
            message = "this key would break the listing that holds it"
            raise InvalidKey(message, key=key, operation=operation)
        return key
    if segments[-1] == MARKER_NAME:
        raise InvalidKey("this name marks a directory", key=key, operation=operation)
    return key + MARKER_NAME if key.endswith("/") else key


def key_of(name: str, traits: Traits) -> str:
    """Return the key that a driver's name for an object stands for."""
    if traits.is_local and (name == MARKER_NAME or name.endswith("/" + MARKER_NAME)):
        return name.removesuffix(MARKER_NAME)
    return name


def info_of(
    found: Any, traits: Traits, headers: Mapping[str, str] | None = None, *, is_listed: bool = False
) -> ObjectInfo:
    """Return the info of a driver's object; `headers` are those of the answer that described it."""
    modified_ns = modified_ns_of(found.extra or {})
    return ObjectInfo(
        key_of(found.name, traits),
        int(found.size),
        version_from(found.hash, modified_ns, int(found.size), traits),
        modified_ns,
        None if is_listed else metadata_of(found, traits, headers or {}),
        None if is_listed else (found.extra or {}).get("content_type"),
    )


def version_from(tag: str | None, modified_ns: int, size: int, traits: Traits) -> Version:
    """Return the version that a driver's hash names.

    The local driver's is of the time of the last change, which is no tag that a server compares.
    """
    if traits.is_local:
        return Version(f"~{tag}-{size}")
    return version_of(tag, modified_ns // 10**9 * 10**9, size)


def modified_ns_of(extra: Mapping[str, Any]) -> int:
    """Return when an object was written, in ns since 1970; 0 where the driver does not say."""
    if isinstance(extra.get("modify_time"), float):
        return int(extra["modify_time"] * 10**6) * 1000
    if isinstance(extra.get("uploadTimestamp"), int):
        return int(extra["uploadTimestamp"]) * 10**6
    text = extra.get("last_modified")
    if isinstance(text, datetime):
        return int(text.timestamp()) * 10**9
    if not isinstance(text, str):
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return seconds_ns(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9


def metadata_of(found: Any, traits: Traits, headers: Mapping[str, str]) -> dict[str, str]:
    """Return an object's user metadata, and the standard headers that are kept with it."""
    if not traits.keeps_metadata:
        return {}
    metadata = {
        str(name).lower(): decode_value(value)
        for name, value in (found.meta_data or {}).items()
        if isinstance(value, str)
    }
    if traits.vendor_prefix is not None:
        metadata.update((_KEPT_MARK + name, headers[name]) for name in _KEPT if name in headers)
    return metadata


def kept_attributes(attributes: ObjectAttributes, traits: Traits) -> ObjectAttributes:
    """Return what of `attributes` the driver will keep. Raises: NotSupported.

    Where it keeps nothing, a symbolic link or device would be a plain file with the next mount.
    """
    if traits.keeps_metadata:
        metadata = {name.lower(): value for name, value in attributes.metadata.items()}
        return ObjectAttributes(metadata, attributes.content_type)
    mode = attributes.metadata.get("mode", "")
    if mode.isdigit() and stat.S_IFMT(int(mode)) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise NotSupported(f"the driver {traits.provider} keeps nothing but plain files")
    return ObjectAttributes()


def upload_settings(
    attributes: ObjectAttributes, traits: Traits
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return `extra` and `headers` for an upload. Raises: InvalidRequest (impossible names)."""
    attribute_headers(attributes)  # checks the names
    metadata: dict[str, str] = {}
    headers: dict[str, str] = {}
    for name, value in attributes.metadata.items():
        kept = name.removeprefix(_KEPT_MARK)
        if kept != name and traits.vendor_prefix is not None:
            headers[kept] = value
        elif kept == name:
            metadata[name.lower()] = _encoded(value)
    extra: dict[str, Any] = {"meta_data": metadata}
    if attributes.content_type:
        extra["content_type"] = attributes.content_type
    return extra, headers


def _encoded(value: str) -> str:
    """Return a metadata value as a header; Libcloud signs runs of spaces as servers do not."""
    if "  " not in value:
        return encode_value(value)
    return f"=?UTF-8?B?{base64.b64encode(key_bytes(value)).decode('ascii')}?="
