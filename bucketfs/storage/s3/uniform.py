"""Items of an XML document that all look like the first one, read by one regular expression; pure.

Only what an XML parser would read in the same way is taken: no declarations, comments, sections or
entities but the quotation mark, and every tag of every item accounted for. All else is left to a
parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from xml.parsers import expat

Row = tuple[str | None, ...]
"""The text of each field that was asked for, None where an item does not have it."""

_LEAF = re.compile(r"<([A-Za-z][\w.-]*)>[^<]*</\1>")
_EMPTY_LEAF = re.compile(r"<([A-Za-z][\w.-]*)></\1>")
_CONTROLS = bytes(code for code in range(0x20) if code not in (9, 10))
"""What XML forbids or changes: a carriage return becomes a line feed."""
_LONGEST_ITEM = 8192


class Scanned(NamedTuple):
    """The document without its items, and the items."""

    around: bytes
    rows: Sequence[Row]


class _Form(NamedTuple):
    pattern: re.Pattern[str]
    tags: int
    places: tuple[int | None, ...]


def scan(document: bytes, item: str, fields: tuple[str, ...]) -> Scanned | None:
    """Return the `fields` of each `item` in a document; None where a parser has to read it."""
    opening, closing = f"<{item}>".encode(), f"</{item}>".encode()
    first, end = document.find(opening), document.rfind(closing) + len(closing)
    if not 0 <= first < end:
        return None
    items = document[first:end].replace(b"&quot;", b'"').replace(b"&#34;", b'"')
    if b"&" in items or b"<!" in items or b"<?" in items or b"]]>" in items:
        return None
    if len(items.translate(None, _CONTROLS)) != len(items):
        return None
    try:
        text = items.decode()
    except UnicodeDecodeError:
        return None
    form = _form(text[: text.find(closing.decode()) + len(closing)], fields)
    if form is None:
        return None
    found = form.pattern.findall(text)
    if len(found) != text.count(f"<{item}>") or text.count("<") != form.tags * len(found):
        return None
    return Scanned(document[:first] + document[end:], _rows(found, form.places))


def _form(item: str, fields: tuple[str, ...]) -> _Form | None:
    if len(item) > _LONGEST_ITEM:
        return None
    return _form_of(_LEAF.sub(r"<\1></\1>", item), fields)


@lru_cache(maxsize=64)
def _form_of(skeleton: str, fields: tuple[str, ...]) -> _Form | None:
    """Return how to read items that are `skeleton` with text in their innermost elements."""
    try:
        expat.ParserCreate().Parse(skeleton, True)
    except expat.ExpatError:
        return None
    literal, *rest = _EMPTY_LEAF.split(skeleton)
    pattern = re.escape(literal)
    captured: list[str] = []
    for name, literal in zip(rest[::2], rest[1::2], strict=True):
        if name in captured:
            return None
        text = "[^<]*"
        if name in fields:
            captured.append(name)
            text = f"({text})"
        pattern += f"<{re.escape(name)}>{text}</{re.escape(name)}>{re.escape(literal)}"
    places = tuple(captured.index(name) if name in captured else None for name in fields)
    return _Form(re.compile(pattern), skeleton.count("<"), places) if captured else None


def _rows(found: list[tuple[str, ...]] | list[str], places: tuple[int | None, ...]) -> list[Row]:
    if places == (0,):
        # With one group a match is no tuple.
        return [(text,) for text in found]  # type: ignore[misc]
    rows = [match if isinstance(match, tuple) else (match,) for match in found]
    if places == tuple(range(len(places))):
        return rows  # type: ignore[return-value]
    return [tuple(None if place is None else row[place] for place in places) for row in rows]
