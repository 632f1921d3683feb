"""The XML of S3: results, errors, and the documents that are sent; pure. Listings: `listing`."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bucketfs.errors import ConfusedServer
from bucketfs.storage.interface import Part

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def parse_fields(text: bytes, root: str) -> dict[str, str]:
    """Return the direct children of a document whose root is `root` (see `is_named`).

    Raises: ConfusedServer.
    """
    name, fields = parse_any(text)
    if not is_named(name, root):
        raise ConfusedServer(f"{root} was expected, {name or 'no XML'} came")
    return fields


def is_named(name: str, root: str) -> bool:
    """Return whether `name` is Amazon's name `root`, but for its last word.

    Some servers call `CompleteMultipartUploadResult` a `...Response`, or leave the word away.
    """
    return name.removesuffix("Response").removesuffix("Result") == root.removesuffix("Result")


def parse_any(text: bytes) -> tuple[str, dict[str, str]]:
    """Return a document's root and its direct children; an empty root where it is not XML."""
    try:
        tree = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return "", {}
    return _local(tree.tag), {_local(child.tag): (child.text or "").strip() for child in tree}


def parse_items(text: bytes, root: str, item: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return what `parse_fields` does, and the children of each of the document's `item`s.

    Raises: ConfusedServer.
    """
    fields = parse_fields(text, root)
    tree = fromstring(text, forbid_dtd=True)
    items = [
        {_local(field.tag): field.text or "" for field in child}
        for child in tree
        if _local(child.tag) == item
    ]
    return fields, items


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def complete_document(parts: Iterable[Part]) -> bytes:
    """Return the body that makes an object of `parts`."""
    items = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.tag)}&quot;</ETag></Part>"
        for part in parts
    )
    return f"<CompleteMultipartUpload {_NAMESPACE}>{items}</CompleteMultipartUpload>".encode()


def delete_document(keys: Iterable[str]) -> bytes:
    """Return the body that deletes `keys`; every one is `is_xml_text`."""
    items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete {_NAMESPACE}>{items}<Quiet>true</Quiet></Delete>".encode()


def is_xml_text(text: str) -> bool:
    """Return whether XML 1.0 carries `text` unchanged (no control characters, no stray bytes)."""
    return all(
        " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff" for char in text
    )
