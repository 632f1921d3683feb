"""The XML of S3: listings, results, errors; and the documents that are sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote, unquote_plus
from xml.etree.ElementTree import ParseError
from xml.parsers import expat
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException, DTDForbidden
from defusedxml.ElementTree import fromstring

from bucketfs.errors import ConfusedServer
from bucketfs.storage.headers import iso_ns, version_of
from bucketfs.storage.interface import ListPage, ObjectInfo, Part
from bucketfs.storage.key_order import key_bytes

_CONTROLS = {code: chr(0xFDD0 + code) for code in range(0x20) if code not in (9, 10, 13)}
"""Characters that XML cannot carry -> noncharacters of Unicode, which it can and no key has."""

_CONTROLS_BACK = {ord(stand_in): chr(code) for code, stand_in in _CONTROLS.items()}
_CONTROL = re.compile(rb"&#(?:x0*([01]?[0-9a-fA-F])|0*([12]?[0-9]|3[01]));|[\x00-\x1f]")

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def parse_listing(text: bytes, *, has_tokens: bool = True) -> ListPage:
    """Return the page that a ListObjectsV2 answer holds. Raises: ConfusedServer.

    `has_tokens` False: it is of ListObjects, version 1, as COS answers: the next marker is a name
    (the last one on the page where it is left out), and a plus in a name is a plus.
    Expat with callbacks: 1000 entries in a few ms, where a tree of elements costs five times that.
    """
    try:
        found = _parsed(text, _Listing(has_tokens))
    except expat.ExpatError as exc:
        # radosgw does not encode the prefix that it repeats, nor the token for the next page.
        legal = _with_stand_ins(text)
        if legal == text:
            raise ConfusedServer("the listing is not XML") from exc
        try:
            found = _parsed(legal, _Listing(has_tokens, _CONTROLS_BACK))
        except expat.ExpatError:
            raise ConfusedServer("the listing is not XML") from exc
    return found.page()


def _parsed(text: bytes, found: _Listing) -> _Listing:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _forbid_doctype
    parser.StartElementHandler = found.start
    parser.CharacterDataHandler = found.text.append
    parser.EndElementHandler = found.end
    try:
        parser.Parse(text, True)
    except DefusedXmlException as exc:
        raise ConfusedServer("the listing is not XML") from exc
    return found


def _with_stand_ins(text: bytes) -> bytes:
    """Return a document with the control characters that make it no XML as `_CONTROLS` has them."""

    def stand_in(match: re.Match[bytes]) -> bytes:
        hexadecimal, decimal = match.groups()
        code = int(hexadecimal, 16) if hexadecimal else int(decimal or match[0][0])
        return _CONTROLS[code].encode() if code in _CONTROLS else match[0]

    return _CONTROL.sub(stand_in, text)


class _Listing:
    """Collects the fields of a listing while expat reads it."""

    def __init__(self, has_tokens: bool, stand_ins: Mapping[int, str] | None = None) -> None:
        self.text: list[str] = []
        self._stand_ins = stand_ins
        self._has_tokens = has_tokens
        self._unquote = unquote_plus if has_tokens else unquote
        self._root: str | None = None
        self._top: dict[str, str] = {}
        self._fields = self._top
        self._objects: list[dict[str, str]] = []
        self._prefixes: list[dict[str, str]] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        self.text.clear()
        if self._root is None:
            self._root = name
        if name in ("Contents", "CommonPrefixes"):
            self._fields = {}

    def end(self, name: str) -> None:
        """End an element: an item, or a field of the item or page around it."""
        if name == "Contents":
            self._objects.append(self._fields)
            self._fields = self._top
        elif name == "CommonPrefixes":
            self._prefixes.append(self._fields)
            self._fields = self._top
        else:
            text = "".join(self.text)
            self._fields[name] = text.translate(self._stand_ins) if self._stand_ins else text
        self.text.clear()

    def page(self) -> ListPage:
        """Return what was collected. Raises: ConfusedServer."""
        if self._root != "ListBucketResult":
            raise ConfusedServer(f"a listing was expected, {self._root} came")
        try:
            objects = [self._listed(fields) for fields in self._objects]
            prefixes = [self._decoded(fields["Prefix"]) for fields in self._prefixes]
        except (KeyError, ValueError) as exc:
            raise ConfusedServer("an entry of the listing is incomplete") from exc
        return ListPage(objects, prefixes, self._next_marker(objects, prefixes))

    def _next_marker(self, objects: Sequence[ObjectInfo], prefixes: Sequence[str]) -> str | None:
        if self._top.get("IsTruncated", "").lower() != "true":
            return None
        if self._has_tokens:
            marker = self._top.get("NextContinuationToken", "")
        else:
            marker = self._decoded(self._top.get("NextMarker", "")) or max(
                [*(info.key for info in objects[-1:]), *prefixes[-1:]], key=key_bytes, default=""
            )
        if not marker:
            raise ConfusedServer("the listing goes on, but does not say where")
        return marker

    def _listed(self, fields: Mapping[str, str]) -> ObjectInfo:
        size = int(fields["Size"])
        modified_ns = iso_ns(fields.get("LastModified", ""))
        return ObjectInfo(
            self._decoded(fields["Key"]),
            size,
            version_of(fields.get("ETag"), modified_ns, size),
            modified_ns,
            storage_class=fields.get("StorageClass") or None,
        )

    def _decoded(self, text: str) -> str:
        if self._top.get("EncodingType") != "url":
            return text
        # Amazon writes a space as "+", others as "%20"; all but COS write a plus as "%2B".
        return self._unquote(text, "utf-8", "surrogateescape")


def _forbid_doctype(name: str, system: str | None, public: str | None, _: bool) -> None:
    raise DTDForbidden(name, system, public)


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
