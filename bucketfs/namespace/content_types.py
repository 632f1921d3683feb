"""Content types: what other clients of the bucket are told of an object's bytes; pure."""

from __future__ import annotations

import mimetypes
from functools import lru_cache

from bucketfs.namespace.nodes import Node

DIRECTORY_TYPE = "application/x-directory"
DEFAULT_TYPE = "application/octet-stream"


def content_type(node: Node, name: str | None = None) -> str:
    """Return the type that the object has, or else what its extension (or that of `name`) says."""
    if node.is_directory:
        return DIRECTORY_TYPE
    known = node.info.content_type if node.info is not None else None
    if known is not None and known not in (DEFAULT_TYPE, guessed_type(node.name)):
        return known  # somebody chose it
    return guessed_type(name or node.name)


@lru_cache(maxsize=4096)
def guessed_type(name: str) -> str:
    """Return the content type that goes with a name's extension."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    return DEFAULT_TYPE if kind is None or encoding is not None else kind
