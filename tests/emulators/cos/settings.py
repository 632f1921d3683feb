"""What COS keeps beside objects and buckets as documents: ACL, CORS, life cycle, tags, versions."""

from __future__ import annotations

from werkzeug.wrappers import Response

from tests.emulators.cos import kept as rules
from tests.emulators.cos.refusals import Refused
from tests.emulators.keeping import Bucket
from tests.emulators.serving import Ask

MISSING = {"cors": "NoSuchCORSConfiguration", "lifecycle": "NoSuchLifecycleConfiguration"}
BUCKET_WORDS = ("acl", "cors", "lifecycle", "tagging", "versioning")
OBJECT_WORDS = ("acl", "tagging")
_GRANTEE = (
    '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
    "<ID>qcs::cam::uin/1:uin/1</ID><DisplayName>1</DisplayName></Grantee>"
)
_ACL = (
    "<AccessControlPolicy><Owner><ID>qcs::cam::uin/1:uin/1</ID><DisplayName>1</DisplayName></Owner>"
    f"<AccessControlList><Grant>{_GRANTEE}<Permission>{{}}</Permission></Grant>"
    "</AccessControlList></AccessControlPolicy>"
)
_EMPTY = {
    "tagging": "<Tagging><TagSet/></Tagging>",
    "versioning": "<VersioningConfiguration/>",
}


def answer(word: str, bucket: Bucket, ask: Ask) -> Response:
    """Put, get or delete the document `word` of a bucket or, with a key, of an object."""
    if ask.key:
        rules.found(bucket, ask.key)
    place = f"{word}:{ask.key}" if ask.key else word
    if ask.method == "PUT":
        bucket.documents[place] = _put(word, ask)
        return Response(status=200)
    if ask.method == "DELETE":
        bucket.documents.pop(place, None)
        return Response(status=204)
    kept = bucket.documents.get(place)
    if kept is None:
        if word in MISSING:
            raise Refused(404, MISSING[word])
        if word == "tagging" and not ask.key:
            raise Refused(404, "NoSuchTagSet")
        kept = (_EMPTY.get(word) or _ACL.format("FULL_CONTROL")).encode()
    return Response(kept, 200, {"Content-Type": "application/xml"})


def _put(word: str, ask: Ask) -> bytes:
    body = rules.checked_body(ask)
    if word != "acl":
        if not body:
            raise Refused(400, "MalformedXML")
        return body
    if body:
        return body
    name = ask.headers.get("x-cos-acl", "private")
    if name.startswith("public-read"):
        return _ACL.format("READ").encode()
    return _ACL.format("FULL_CONTROL").encode()
