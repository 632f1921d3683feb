"""The XML of listings, results and requests."""

from __future__ import annotations

import pytest

from bucketfs.errors import ConfusedServer
from bucketfs.storage.interface import ListPage, ObjectInfo, Part, Version
from bucketfs.storage.s3.documents import (
    complete_document,
    delete_document,
    is_xml_text,
    parse_any,
    parse_fields,
    parse_items,
)
from bucketfs.storage.s3.listing import parse_listing

BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
)


def listing(inner: str, encoding: str = "url") -> bytes:
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix>p/</Prefix>{inner}<EncodingType>{encoding}</EncodingType>"
        "</ListBucketResult>"
    ).encode()


def entry(key: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2023-11-14T22:13:20.999Z</LastModified>"
        "<ETag>&quot;e&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass>"
        "<Owner><ID>1</ID><DisplayName>n</DisplayName></Owner></Contents>"
    )


def test_a_listing_has_objects_prefixes_and_a_marker() -> None:
    page = parse_listing(
        listing(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>"
            + entry("p/a%20b%2Bc+d%FF")
            + "<CommonPrefixes><Prefix>p/%C3%A4/</Prefix></CommonPrefixes>"
        )
    )
    expected = ObjectInfo(
        "p/a b+c d\udcff", 5, Version("e"), 1_700_000_000 * 10**9, storage_class="STANDARD"
    )
    assert page == ListPage([expected], ["p/ä/"], "t&1")


def test_keys_are_decoded_only_where_the_server_says_that_they_are_encoded() -> None:
    assert parse_listing(listing(entry("a%20+b"), "")).objects[0].key == "a%20+b"


@pytest.mark.parametrize("written", ["&#x07;", "&#7;", "&#x7;", "\a"])
def test_control_characters_that_the_server_does_not_encode_are_read(written: str) -> None:
    tail = (
        f"<IsTruncated>true</IsTruncated><NextContinuationToken>a{written}b</NextContinuationToken>"
    )
    page = parse_listing(listing(f"<Marker>{written}</Marker>{entry('a%07b')}{tail}"))
    assert [info.key for info in page.objects] == ["a\ab"]
    assert page.next_marker == "a\ab"


def test_control_characters_excuse_no_other_fault() -> None:
    with pytest.raises(ConfusedServer):
        parse_listing(b"<ListBucketResult>&#x07;<Contents></ListBucketResult>")


def test_an_empty_listing_is_a_page() -> None:
    text = listing("<IsTruncated>false</IsTruncated><NextContinuationToken/>")
    assert parse_listing(text) == ListPage([], [], None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not xml",
        b"<ListBucketResult>",
        b"<Other/>",
        BOMB,
        listing("<Contents><Key>a</Key></Contents>"),
        listing("<Contents><Key>a</Key><Size>x</Size></Contents>"),
        listing(entry("k").replace("2023-11-14T", "?")),
        listing("<IsTruncated>true</IsTruncated>"),
    ],
)
def test_what_is_no_listing_is_a_confused_server(text: bytes) -> None:
    with pytest.raises(ConfusedServer):
        parse_listing(text)


def test_fields_are_read_with_and_without_a_namespace() -> None:
    text = b'<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag> "x" </ETag></R>'
    assert parse_fields(text, "R") == {"ETag": '"x"'}
    assert parse_fields(b"<R><A>1</A></R>", "R") == {"A": "1"}
    with pytest.raises(ConfusedServer, match="Q was expected, R came"):
        parse_fields(b"<R/>", "Q")


@pytest.mark.parametrize("name", ["ListPartsResult", "ListPartsResponse", "ListParts"])
def test_the_last_word_of_a_name_may_differ(name: str) -> None:
    assert parse_fields(f"<{name}/>".encode(), "ListPartsResult") == {}
    with pytest.raises(ConfusedServer):
        parse_fields(f"<{name}/>".encode(), "CopyPartResult")


def test_entities_are_never_expanded() -> None:
    assert parse_any(BOMB) == ("", {})


def test_items_keep_the_spaces_of_their_text() -> None:
    fields, items = parse_items(b"<R><N>1</N><I><K> a </K></I><I><K/></I></R>", "R", "I")
    assert fields["N"] == "1"
    assert items == [{"K": " a "}, {"K": ""}]


def test_documents_that_are_sent_are_escaped() -> None:
    assert b"<Key>a&amp;&lt;b</Key>" in delete_document(["a&<b"])
    text = complete_document([Part(1, "t1", 5), Part(2, "t2", 5)])
    _, parts = parse_items(text, "CompleteMultipartUpload", "Part")
    assert parts == [
        {"PartNumber": "1", "ETag": '"t1"'},
        {"PartNumber": "2", "ETag": '"t2"'},
    ]


@pytest.mark.parametrize(
    ("key", "fits"),
    [("a b/ä&<", True), ("😀", True), ("a\nb", False), ("\x01", False), ("\udcff", False)],
)
def test_keys_that_xml_would_change_are_known(key: str, fits: bool) -> None:
    assert is_xml_text(key) is fits
