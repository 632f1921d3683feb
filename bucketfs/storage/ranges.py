"""Whether the answer to a ranged GET is what was asked for: the version, and the bytes. Pure."""

from __future__ import annotations

from bucketfs.errors import ConfusedServer, ObjectChanged
from bucketfs.storage.headers import content_range, has_etag, quoted
from bucketfs.storage.interface import ObjectInfo, Version
from bucketfs.transport.exchange import Response


def range_headers(first: int, left: int, if_version: Version | None) -> dict[str, str]:
    """Return the headers that ask for `left` bytes from `first`, of `if_version` (None: of any)."""
    headers = {"range": f"bytes={first}-{first + left - 1}"}
    if if_version is not None and has_etag(if_version):
        headers["if-match"] = quoted(if_version)
    return headers


def checked_end(info: ObjectInfo, first: int) -> ObjectInfo:
    """Return `info` if the server rightly refused a range from `first`. Raises: ConfusedServer."""
    if first < info.size:
        raise ConfusedServer("an existing range was refused", key=info.key, operation="read")
    return info


def checked_version(info: ObjectInfo, if_version: Version | None) -> ObjectInfo:
    """Return `info` if it is of `if_version` (None: of any). Raises: ObjectChanged."""
    if if_version is not None and info.version != if_version:
        raise ObjectChanged("the object was replaced", key=info.key, operation="read")
    return info


def check_range(head: Response, info: ObjectInfo, first: int, left: int) -> None:
    """Raise ConfusedServer unless the answer is what was asked: `left` bytes from `first`."""
    found = content_range(head.headers)  # Its presence tells: some send a part with status 200.
    if found is None and head.status == 200 and first == 0:
        return  # The whole object: of no harm, the sink takes no more than it wants.
    expected = (first, min(first + left, info.size) - 1, info.size)
    if found != expected:
        raise ConfusedServer("another range came than was asked", key=info.key, operation="read")
    length = head.headers.get("content-length")
    if length is not None and length != str(expected[1] - first + 1):
        raise ConfusedServer("the range is not as long as it says", key=info.key, operation="read")
