"""Which uploads are pending in a bucket of S3 or COS: begun, neither committed nor aborted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bucketfs.errors import ConfusedServer
from bucketfs.storage.calling import Sender, page_query
from bucketfs.storage.headers import iso_ns
from bucketfs.storage.interface import PendingUpload
from bucketfs.storage.s3.documents import parse_items


async def list_uploads(calls: Sender, prefix: str) -> Sequence[PendingUpload]:
    """Return the uploads of keys that begin with `prefix`.

    Names are not asked for in URL encoding: radosgw encodes them then and does not say so. A name
    with control characters makes its answer no XML: nothing can be listed as long as it is there.
    Raises: AccessDenied, ConfusedServer.
    """
    found: list[PendingUpload] = []
    place: tuple[str, str] | None = None
    while True:
        query = [("uploads", ""), *page_query(prefix, "", ("key-marker", place and place[0]))]
        if place:
            query.append(("upload-id-marker", place[1]))
        response = await calls.send("GET", "list_uploads", None, query=query)
        fields, items = parse_items(response.body, "ListMultipartUploadsResult", "Upload")
        page = [_pending(item) for item in items]
        found += page
        is_more = fields.get("IsTruncated", "").lower() == "true"
        if not is_more or not page or place == (page[-1].key, page[-1].upload_id):
            # Not every server heeds the prefix.
            return [upload for upload in found if upload.key.startswith(prefix)]
        # The markers of the next page are the last names of this one (S3's own words for them).
        place = page[-1].key, page[-1].upload_id


def _pending(fields: Mapping[str, str]) -> PendingUpload:
    # The documents of COS call it UploadID; its answers, UploadId.
    key, upload_id = fields.get("Key"), fields.get("UploadId") or fields.get("UploadID")
    if not key or not upload_id:
        raise ConfusedServer("a listed upload is incomplete", key=key)
    return PendingUpload(key, upload_id, iso_ns(fields.get("Initiated", "")))
