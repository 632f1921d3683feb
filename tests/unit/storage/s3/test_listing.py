"""Listings read by one regular expression are those that an XML parser reads, or are left to it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bucketfs.errors import ConfusedServer
from bucketfs.storage.interface import ListPage
from bucketfs.storage.s3 import listing
from bucketfs.storage.s3.uniform import scan

FIELDS = ("Key", "LastModified", "ETag", "Size", "StorageClass")
DATE = "2023-11-14T22:13:20.999Z"


def document(inner: str, encoding: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><ListBucketResult xmlns="x"><Name>b</Name>{inner}'
        f"<EncodingType>{encoding}</EncodingType><IsTruncated>false</IsTruncated>"
        "</ListBucketResult>"
    ).encode("utf-8", "surrogateescape")


def item(fields: Sequence[tuple[str, str]], gap: str = "") -> str:
    inner = gap.join(f"<{name}>{text}</{name}>" for name, text in fields)
    return f"<Contents>{gap}{inner}{gap}</Contents>{gap}"


def whole(text: bytes, *, has_tokens: bool = True) -> ListPage | str:
    """Return what a parser alone makes of it."""
    try:
        return listing._parsed_whole(text, has_tokens)
    except ConfusedServer:
        return "confused"


def fast(text: bytes, *, has_tokens: bool = True) -> ListPage | str:
    try:
        return listing.parse_listing(text, has_tokens=has_tokens)
    except ConfusedServer:
        return "confused"


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<>\r\x85"), max_size=8)
WRITTEN = st.one_of(
    TEXTS.map(escape),
    TEXTS.map(lambda text: f"&quot;{escape(text)}&#34;"),
    st.sampled_from(
        ["", "a&b", "&lt;", "<!-- c -->", "<![CDATA[x]]>", "<b/>", "%41+", "]]>", "a\rb"]
    ),
)
NAMES = st.sampled_from([*FIELDS, "Owner", "Size", "Key"])
OTHER_TAGS = st.sampled_from(["", "<Owner><ID>1</ID></Owner>", "<Tags/>", "junk", "<!-- c -->"])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Draw a listing, uniform or not, correct or not."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=draw(st.booleans())))
    gap = draw(st.sampled_from(["", "", "\n  "]))
    items = []
    for _ in range(draw(st.integers(0, 4))):
        usual = {"Key": draw(WRITTEN), "LastModified": DATE, "ETag": draw(WRITTEN), "Size": "5"}
        chosen = names if draw(st.integers(0, 9)) else draw(st.permutations(names))
        text = item([(name, usual.get(name, "x")) for name in chosen], gap)
        items.append(text if draw(st.integers(0, 9)) else text + draw(OTHER_TAGS))
    prefixes = draw(st.lists(WRITTEN, max_size=3))
    inner = "".join(items) + "".join(
        f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in prefixes
    )
    return document(inner, draw(st.sampled_from(["", "url"])))


@given(documents(), st.booleans())
@example(document(item([("Key", "a"), ("Size", "1")]) + "<!-- <Contents> -->"), True)
@example(document(item([("Key", "a"), ("Size", "1")])[:-3]), True)
def test_it_reads_what_a_parser_reads(text: bytes, has_tokens: bool) -> None:
    assert fast(text, has_tokens=has_tokens) == whole(text, has_tokens=has_tokens)


@pytest.mark.parametrize(
    "order",
    [
        FIELDS,
        ("Key", "LastModified", "ETag", "Size", "Owner", "StorageClass"),
        ("Size", "Key", "ETag", "LastModified"),
    ],
)
def test_the_usual_forms_are_read_without_a_parser(order: Sequence[str]) -> None:
    texts = {"Key": "k&quot;", "LastModified": DATE, "ETag": "&quot;e&quot;", "Size": "5"}
    owner = "<ID>1</ID><DisplayName>n</DisplayName>"
    fields = [(name, owner if name == "Owner" else texts.get(name, "GLACIER")) for name in order]
    text = document(item(fields) * 3 + "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>")
    scanned = scan(text, "Contents", FIELDS)
    assert scanned is not None
    has_class = "StorageClass" in order
    assert list(scanned.rows) == [('k"', DATE, '"e"', "5", "GLACIER" if has_class else None)] * 3
    page = fast(text)
    assert isinstance(page, ListPage)
    assert page == whole(text)
    assert (len(page.objects), page.prefixes) == (3, ["p/"])


@pytest.mark.parametrize(
    "spoilt",
    [
        item([("Key", "a"), ("Size", "1")]) + item([("Key", "b"), ("Size", "1"), ("ETag", "e")]),
        item([("Key", "a&amp;"), ("Size", "1")]),
        item([("Key", "<![CDATA[a]]>"), ("Size", "1")]),
        item([("Key", "a"), ("Size", "1")]) + "<Other/>" + item([("Key", "b"), ("Size", "1")]),
        item([("Key", "a"), ("Key", "b"), ("Size", "1")]),
        item([("Key", "a\rb"), ("Size", "1")]),
        item([("Key", "\udcff"), ("Size", "1")]),
    ],
)
def test_what_is_not_uniform_is_left_to_a_parser(spoilt: str) -> None:
    assert scan(document(spoilt), "Contents", ("Key", "Size")) is None


def test_a_bomb_is_refused_either_way() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + document(item([("Key", "a"), ("Size", "1")]))[21:]
    assert fast(bomb) == whole(bomb) == "confused"
