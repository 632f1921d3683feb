"""CosEmulator: takes a request apart, checks who asks, and hands it to the operation it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial

from werkzeug.wrappers import Response

from tests.emulators.cos import kept as rules
from tests.emulators.cos import settings
from tests.emulators.cos.objects import Objects, iso_date
from tests.emulators.cos.refusals import Content, Refused, document, new_id
from tests.emulators.cos.signature import Account, verify
from tests.emulators.cos.uploads import Uploads
from tests.emulators.keeping import Bucket, Buckets
from tests.emulators.serving import Ask, Knobs

APPID = "1250000000"
REGION = "ap-guangzhou"
SECRET_ID = "AKIDemulator0000000000000000000000001"
SECRET_KEY = "emulatorSecretKey0000000000000001"
_OWNER: Content = [("ID", APPID), ("DisplayName", APPID)]

Operation = Callable[[Bucket, Ask], Response]


class CosEmulator:
    """One cloud: its accounts, buckets and clock."""

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.buckets = Buckets()
        self.accounts = {SECRET_ID: Account(SECRET_ID, SECRET_KEY)}
        self._objects = Objects(self.buckets, self.knobs.now_s)
        self._uploads = Uploads(self._objects, self.knobs.now_s)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that give a client its keys and the region."""
        return {
            "COS_SECRET_ID": SECRET_ID,
            "COS_SECRET_KEY": SECRET_KEY,
            "COS_REGION": REGION,
        }

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses; return its full name."""
        name = f"{self.buckets.new_name()}-{APPID}"
        self.buckets.make(name, REGION, self.knobs.now_s())
        return name

    def answer(self, ask: Ask) -> Response:
        """Answer a request; called from many threads at once."""
        try:
            response = self._answer(ask)
        except Refused as refused:
            response = refused.response(ask)
        response.headers.setdefault("x-cos-request-id", new_id())
        response.headers["Server"] = "tencent-cos"
        response.headers["Date"] = formatdate(self.knobs.now_s(), usegmt=True)
        return response

    def _answer(self, ask: Ask) -> Response:
        account = verify(ask, self.accounts, self.knobs.now_s())
        name, _, rest = ask.host.partition(".")
        if name == "service":
            return self._list_buckets()
        bucket = self.buckets.get(name)
        if ask.method == "PUT" and not ask.key and not ask.query:
            return self._make_bucket(name)
        is_here = bucket is not None and rest.startswith((f"cos.{bucket.region}.", "cos.accel"))
        if bucket is None or not is_here:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        right, operation = self._operation(ask)
        if right not in account.rights:
            raise Refused(403, "AccessDenied", "Access Denied.")
        return operation(bucket, ask)

    def _operation(self, ask: Ask) -> tuple[str, Operation]:
        """Return the right that a request needs, and what does it."""
        words = {name for name, _ in ask.query}
        known = settings.OBJECT_WORDS if ask.key else settings.BUCKET_WORDS
        for word in known:
            if word in words:
                right = "read" if ask.method == "GET" else "write"
                return right, partial(settings.answer, word)
        if ask.key:
            return self._object_operation(ask, words)
        return self._bucket_operation(ask, words)

    def _bucket_operation(self, ask: Ask, words: set[str]) -> tuple[str, Operation]:
        if ask.method == "POST" and "delete" in words:
            return "delete", self._objects.delete_many
        if ask.method == "GET" and "uploads" in words:
            return "list", self._uploads.list_uploads
        if ask.method == "GET" and "location" in words:
            return "read", _location
        if ask.method == "GET" and not words & {"versions", "policy", "website"}:
            return "list", _list_objects
        if ask.method == "HEAD":
            return "read", _head_bucket
        if ask.method == "DELETE":
            return "delete", self._remove_bucket
        raise Refused(501, "NotImplemented")

    def _object_operation(self, ask: Ask, words: set[str]) -> tuple[str, Operation]:
        is_copy = "x-cos-copy-source" in ask.headers
        for method, word, right, operation in (
            ("PUT", "uploadId", "write", self._uploads.put_part),
            ("GET", "uploadId", "read", self._uploads.list_parts),
            ("POST", "uploadId", "write", self._uploads.complete),
            ("DELETE", "uploadId", "write", self._uploads.abort),
            ("POST", "uploads", "write", self._uploads.begin),
            ("POST", "append", "write", self._objects.append),
            ("POST", "restore", "write", self._objects.restore),
            ("PUT", "symlink", "write", self._objects.put_symlink),
            ("GET", "symlink", "read", self._objects.get_symlink),
        ):
            if ask.method == method and word in words:
                return right, operation
        plain: Mapping[str, tuple[str, Operation]] = {
            "GET": ("read", self._objects.get),
            "HEAD": ("read", self._objects.get),
            "PUT": ("write", self._objects.copy if is_copy else self._objects.put),
            "DELETE": ("delete", self._objects.delete),
        }
        if ask.method not in plain:
            raise Refused(405, "MethodNotAllowed")
        return plain[ask.method]

    def _list_buckets(self) -> Response:
        buckets: list[tuple[str, Content]] = [
            (
                "Bucket",
                [
                    ("Name", bucket.name),
                    ("Location", bucket.region),
                    ("CreationDate", iso_date(bucket.made_s)),
                    ("BucketType", "cos"),
                ],
            )
            for bucket in self.buckets
        ]
        return document("ListAllMyBucketsResult", [("Owner", _OWNER), ("Buckets", buckets)])

    def _make_bucket(self, name: str) -> Response:
        with self.buckets.lock:
            if self.buckets.get(name) is not None:
                raise Refused(409, "BucketAlreadyOwnedByYou")
            self.buckets.make(name, REGION, self.knobs.now_s())
        return Response(status=200)

    def _remove_bucket(self, bucket: Bucket, ask: Ask) -> Response:
        if len(bucket) or bucket.uploads:
            raise Refused(409, "BucketNotEmpty")
        self.buckets.remove(bucket.name)
        return Response(status=204)


def _head_bucket(bucket: Bucket, ask: Ask) -> Response:
    return Response(status=200, headers={"x-cos-bucket-region": bucket.region})


def _location(bucket: Bucket, ask: Ask) -> Response:
    return document("LocationConstraint", bucket.region)


def _list_objects(bucket: Bucket, ask: Ask) -> Response:
    prefix, marker = ask.parameter("prefix") or "", ask.parameter("marker") or ""
    delimiter = ask.parameter("delimiter") or ""
    limit = ask.parameter("max-keys") or "1000"
    if not limit.isdigit():
        raise Refused(400, "InvalidArgument", "max-keys is not a number.")
    page = bucket.page(prefix, delimiter, marker, min(int(limit), 1000))
    objects: list[tuple[str, Content]] = [
        (
            "Contents",
            [
                ("Key", rules.listed_key(ask, key)),
                ("LastModified", iso_date(kept.modified_s)),
                ("ETag", f'"{kept.etag}"'),
                ("Size", str(len(kept.data))),
                ("Owner", _OWNER),
                ("StorageClass", kept.storage_class),
            ],
        )
        for key, kept in page.objects
    ]
    prefixes: list[tuple[str, Content]] = [
        ("CommonPrefixes", [("Prefix", rules.listed_key(ask, name))]) for name in page.prefixes
    ]
    is_more = page.next_marker is not None
    response = document(
        "ListBucketResult",
        [
            ("Name", bucket.name),
            ("EncodingType", ask.parameter("encoding-type") or ""),
            ("Prefix", rules.listed_key(ask, prefix)),
            ("Marker", rules.listed_key(ask, marker)),
            ("MaxKeys", limit),
            ("Delimiter", rules.listed_key(ask, delimiter)),
            ("IsTruncated", str(is_more).lower()),
            *([("NextMarker", rules.listed_key(ask, page.next_marker or ""))] if is_more else []),
            *objects,
            *prefixes,
        ],
    )
    response.headers["x-cos-bucket-region"] = bucket.region
    return response
