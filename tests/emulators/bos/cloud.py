"""BosCloud: who asks, about which bucket and key, and which operation that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote_to_bytes

from werkzeug.wrappers import Response

from tests.emulators.bos import buckets, listings, objects, symlinks, uploads
from tests.emulators.bos.answers import Refusal, finish
from tests.emulators.bos.asking import Call, Limits
from tests.emulators.bos.signatures import verify
from tests.emulators.keeping import Buckets
from tests.emulators.serving import Ask, Knobs

REGION = "bj"
ACCESS_KEY = "ak0123456789abcdef0123456789abcdef"
SECRET_KEY = "sk0123456789abcdef0123456789abcdef"

Operation = Callable[[Call], Response]

OF_BUCKETS: Mapping[tuple[str, str], Operation] = {
    ("PUT", ""): buckets.create,
    ("HEAD", ""): buckets.head,
    ("DELETE", ""): buckets.delete,
    ("GET", ""): listings.list_objects,
    ("GET", "location"): buckets.location,
    ("GET", "uploads"): uploads.list_uploads,
    ("POST", "delete"): objects.delete_many,
}
OF_OBJECTS: Mapping[tuple[str, str], Operation] = {
    ("HEAD", ""): objects.get,
    ("GET", ""): objects.get,
    ("PUT", ""): objects.put,
    ("DELETE", ""): objects.delete,
    ("POST", "append"): objects.append,
    ("POST", "uploads"): uploads.begin,
    ("PUT", "uploadId"): uploads.put_part,
    ("GET", "uploadId"): uploads.list_parts,
    ("POST", "uploadId"): uploads.complete,
    ("DELETE", "uploadId"): uploads.abort,
    ("PUT", "symlink"): symlinks.put,
    ("GET", "symlink"): symlinks.get,
    ("POST", "fetch"): objects.fetch,
    ("POST", "restore"): objects.restore,
}
SUBRESOURCES = (
    *("append", "uploads", "uploadId", "symlink", "fetch", "restore", "delete", "location"),
)


class BosCloud:
    """One account with its buckets, in one region.

    `tokens` are session tokens and when they end (seconds since 1970); `limits` is what a test may
    make smaller, or let differ from what the documents say.
    """

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.limits = Limits()
        self.buckets = Buckets()
        self.secrets = {ACCESS_KEY: SECRET_KEY}
        self.tokens: dict[str, float] = {}

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that hold the keys of the account."""
        return {"BCE_ACCESS_KEY_ID": ACCESS_KEY, "BCE_SECRET_ACCESS_KEY": SECRET_KEY}

    def make_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = self.buckets.new_name()
        self.buckets.make(name, REGION, self.knobs.now_s())
        return name

    def answer(self, ask: Ask) -> Response:
        """Answer a request."""
        now_s = self.knobs.now_s()
        try:
            verify(ask, self.secrets, self.tokens, now_s)
            answer = self._route(ask, now_s)
        except Refusal as refusal:
            answer = refusal.response()
        return finish(answer, now_s)

    def _route(self, ask: Ask, now_s: float) -> Response:
        name, key = _split(ask)
        call = Call(ask, self.buckets, name, key, now_s, self.limits)
        if not name:
            return buckets.list_all(call)
        if key and (len(key.encode("utf-8", "surrogateescape")) > 1023 or key.startswith("/")):
            raise Refusal("InvalidObjectName")
        if {".", ".."} & set(key.split("/")):
            raise Refusal("InvalidObjectName")
        table, settings = (OF_OBJECTS, objects) if key else (OF_BUCKETS, buckets)
        asked = {parameter for parameter, _ in ask.query}
        kind = next((found for found in SUBRESOURCES if found in asked), "")
        setting = next((found for found in settings.SETTINGS if found in asked), None)
        if setting is not None:
            answer: Response = settings.setting(call, setting)
            return answer
        operation = table.get((ask.method, kind))
        if operation is None:
            raise Refusal("MethodNotAllowed")
        if operation is not buckets.create:
            bucket = self.buckets.get(name)
            if bucket is None:
                raise Refusal("NoSuchBucket")
            # A look and the change after it are one step, as in a cloud.
            with bucket.lock:
                return operation(call)
        return operation(call)


def _split(ask: Ask) -> tuple[str, str]:
    """Return bucket and key; they are parted before anything is decoded."""
    host = ask.host.partition(":")[0]
    service = f"{REGION}.bcebos.com"
    raw = ask.target.partition("?")[0][1:]
    if host.endswith(f".{service}"):
        bucket = host.removesuffix(f".{service}")
    else:
        bucket, _, raw = raw.partition("/")
    key = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    return bucket, key
