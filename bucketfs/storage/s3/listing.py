"""The XML of a listing as a page; pure.

Items that all look alike, as a server writes them, are read by one regular expression
(`uniform`), and the document around them by expat; whatever is not so uniform by expat alone.
Both give the same, but a page of 1000 keys costs the first a tenth of the time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, unquote_plus
from xml.parsers import expat

from defusedxml.common import DefusedXmlException, DTDForbidden

from bucketfs.errors import ConfusedServer
from bucketfs.storage.headers import iso_ns, version_of
from bucketfs.storage.interface import ListPage, ObjectInfo
from bucketfs.storage.key_order import key_bytes
from bucketfs.storage.s3.uniform import Row, scan

_CONTROLS = {code: chr(0xFDD0 + code) for code in range(0x20) if code not in (9, 10, 13)}
"""Characters that XML cannot carry -> noncharacters of Unicode, which it can and no key has."""

_CONTROLS_BACK = {ord(stand_in): chr(code) for code, stand_in in _CONTROLS.items()}
_CONTROL = re.compile(rb"&#(?:x0*([01]?[0-9a-fA-F])|0*([12]?[0-9]|3[01]));|[\x00-\x1f]")

_FIELDS = ("Key", "LastModified", "ETag", "Size", "StorageClass")


def parse_listing(text: bytes, *, has_tokens: bool = True) -> ListPage:
    """Return the page that a ListObjectsV2 answer holds. Raises: ConfusedServer.

    `has_tokens` False: it is of ListObjects, version 1, as COS answers: the next marker is a name
    (the last one on the page where it is left out), and a plus in a name is a plus.
    """
    scanned = scan(text, "Contents", _FIELDS)
    if scanned is not None:
        around = scan(scanned.around, "CommonPrefixes", ("Prefix",))
        document, prefixes = (scanned.around, []) if around is None else around
        found = _Listing(has_tokens)
        try:
            _parse(document, found)
        except expat.ExpatError:
            pass
        else:
            return found.page(scanned.rows, prefixes)
    return _parsed_whole(text, has_tokens)


def _parsed_whole(text: bytes, has_tokens: bool) -> ListPage:
    found = _Listing(has_tokens)
    try:
        _parse(text, found)
    except expat.ExpatError as exc:
        # radosgw does not encode the prefix that it repeats, nor the token for the next page.
        legal = _with_stand_ins(text)
        if legal == text:
            raise ConfusedServer("the listing is not XML") from exc
        found = _Listing(has_tokens, _CONTROLS_BACK)
        try:
            _parse(legal, found)
        except expat.ExpatError:
            raise ConfusedServer("the listing is not XML") from exc
    return found.page()


def _parse(text: bytes, found: _Listing) -> None:
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


def _forbid_doctype(name: str, system: str | None, public: str | None, _: bool) -> None:
    raise DTDForbidden(name, system, public)


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
        self._is_quoted = False
        self._root: str | None = None
        self._top: dict[str, str] = {}
        self._fields = self._top
        self._objects: list[Row] = []
        self._prefixes: list[Row] = []
        self._times: dict[str, int] = {}

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
            self._objects.append(tuple(map(self._fields.get, _FIELDS)))
            self._fields = self._top
        elif name == "CommonPrefixes":
            self._prefixes.append((self._fields.get("Prefix"),))
            self._fields = self._top
        else:
            text = "".join(self.text)
            self._fields[name] = text.translate(self._stand_ins) if self._stand_ins else text
        self.text.clear()

    def page(self, objects: Sequence[Row] = (), prefixes: Sequence[Row] = ()) -> ListPage:
        """Return what was collected, and the items that were read otherwise.

        Raises: ConfusedServer.
        """
        if self._root != "ListBucketResult":
            raise ConfusedServer(f"a listing was expected, {self._root} came")
        self._is_quoted = self._top.get("EncodingType") == "url"
        try:
            infos = [self._listed(*row) for row in self._objects or objects]
            names = [self._decoded(*row) for row in self._prefixes or prefixes]
        except ValueError as exc:
            raise ConfusedServer("an entry of the listing is incomplete") from exc
        return ListPage(infos, names, self._next_marker(infos, names))

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

    def _listed(
        self,
        key: str | None,
        modified: str | None,
        etag: str | None,
        size: str | None,
        storage_class: str | None,
    ) -> ObjectInfo:
        modified_ns = self._times.get(modified or "")
        if modified_ns is None:
            modified_ns = self._times[modified or ""] = iso_ns(modified or "")
        size_bytes = int(size or "")
        return ObjectInfo(
            self._decoded(key),
            size_bytes,
            version_of(etag, modified_ns, size_bytes),
            modified_ns,
            # One text for all: a page has a thousand equal ones.
            storage_class=sys.intern(storage_class) if storage_class else None,
        )

    def _decoded(self, text: str | None) -> str:
        """Return a name as it is. Raises: ValueError where it is missing."""
        if text is None:
            raise ValueError("no name")
        if not self._is_quoted or not ("%" in text or "+" in text):
            return text
        # Amazon writes a space as "+", others as "%20"; all but COS write a plus as "%2B".
        return self._unquote(text, "utf-8", "surrogateescape")
