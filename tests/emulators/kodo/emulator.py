"""KodoEmulator: which of Kodo's services a request is for."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Response

from tests.emulators.kodo.answers import (
    Refused,
    decoded,
    decoded_text,
    encoded,
    finished,
    json_answer,
    refusal_answer,
)
from tests.emulators.kodo.downloads import download
from tests.emulators.kodo.objects import Objects
from tests.emulators.kodo.stored import Cloud, described, new_object, qetag
from tests.emulators.kodo.tokens import Keys
from tests.emulators.kodo.uploads import Uploads
from tests.emulators.serving import Ask, Knobs

ACCESS_KEY = "AK0123456789abcdefghijklmnopqrstuvwxyzAB"
SECRET_KEY = "SK0123456789abcdefghijklmnopqrstuvwxyzAB"
DOMAIN = ".kodo.test"
_REGIONS = ("z0", "z1", "z2")


class KodoEmulator:
    """Kodo in memory. `denied` are services ("list", "upload", ...) that its keys may not use.

    `secrets` are the keys that it knows.
    """

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.cloud = Cloud()
        self.denied: set[str] = set()
        self.secrets = {ACCESS_KEY: SECRET_KEY}
        self._keys = Keys(self.secrets)
        self._objects = Objects(self.cloud, self.knobs.now_s)
        self._uploads = Uploads(
            self.cloud,
            self.knobs.now_s,
            lambda token: self._keys.upload_policy(token, self.knobs.now_s()),
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with the keys that this cloud knows."""
        return {"QINIU_ACCESS_KEY": ACCESS_KEY, "QINIU_SECRET_KEY": SECRET_KEY}

    def make_bucket(self) -> str:
        """Make a private bucket with a download domain."""
        name = self.cloud.buckets.new_name()
        self.cloud.buckets.make(name, "z0", self.knobs.now_s())
        return name

    def domain(self, bucket: str) -> str:
        """Return the download domain of a bucket: the Host header of downloads."""
        return f"{bucket}{DOMAIN}"

    def answer(self, ask: Ask) -> Response:
        """Answer a request."""
        try:
            response = self._answer(ask)
        except Refused as exc:
            response = refusal_answer(exc)
        except (ValueError, IndexError, KeyError) as exc:
            response = refusal_answer(Refused(400, f"invalid argument: {exc}"))
        return finished(response, self.knobs.now_s())

    def _answer(self, ask: Ask) -> Response:
        host = ask.host.partition(":")[0]
        if host.endswith(DOMAIN):
            return self._download(host.removesuffix(DOMAIN), ask)
        path = ask.target.partition("?")[0]
        first = path.split("/")[1]
        if path == "/" and ask.method == "POST":
            self._allow("upload")
            return json_answer(200, self._uploads.form(ask))
        if path.startswith("/buckets/"):
            self._allow("upload")
            return json_answer(200, self._uploads.parts(ask))
        if first in ("mkblk", "bput", "mkfile"):
            self._allow("upload")
            return json_answer(200, self._uploads.blocks(ask))
        if path == "/v4/query":
            return json_answer(200, self._regions(ask))
        self._keys.check_management(ask, self.knobs.now_s())
        self._allow(first)
        if path == "/batch":
            return json_answer(*self._objects.batch(ask.body))
        if path == "/list":
            return json_answer(200, self._list(ask))
        if first in self._objects.handlers:
            has_parts = ask.parameter("needparts") == "true"
            return json_answer(200, self._objects.do(unquote(path), has_parts))
        if first in ("fetch", "prefetch", "sisyphus"):
            return json_answer(200, self._fetches(first, path, ask))
        return json_answer(200, self._administration(first, path.strip("/").split("/"), ask))

    def _allow(self, service: str) -> None:
        if service in self.denied:
            raise Refused(403, "forbidden")

    def _download(self, name: str, ask: Ask) -> Response:
        bucket = self.cloud.buckets.get(name)
        if bucket is None:
            raise Refused(404, "no such domain")
        if name not in self.cloud.public:
            self._keys.check_download(ask, self.knobs.now_s())
        self._allow("download")
        return download(bucket, ask)

    def _list(self, ask: Ask) -> Any:
        bucket = self.cloud.bucket(ask.parameter("bucket") or "")
        limit = int(ask.parameter("limit") or 1000)
        if not 1 <= limit <= 1000:
            raise Refused(400, "invalid limit")
        page = bucket.page(
            ask.parameter("prefix") or "",
            ask.parameter("delimiter") or "",
            _marked_key(ask.parameter("marker")),
            limit,
        )
        found: dict[str, Any] = {
            "items": [{"key": key, **described(kept)} for key, kept in page.objects]
        }
        if page.prefixes:
            found["commonPrefixes"] = page.prefixes
        if page.next_marker is not None:
            marker = json.dumps({"c": 0, "k": page.next_marker}, ensure_ascii=False)
            found["marker"] = encoded(marker.encode())
        return found

    def _regions(self, ask: Ask) -> Any:
        if not self._keys.knows(ask.parameter("ak") or ""):
            raise Refused(612, "app/accesskey is not found")
        region = self.cloud.bucket(ask.parameter("bucket") or "").region
        services = {
            service: {"domains": [ask.host]} for service in ("up", "io", "rs", "rsf", "api", "uc")
        }
        return {"hosts": [{"region": region, "ttl": 86400, **services}]}

    def _fetches(self, kind: str, path: str, ask: Ask) -> Any:
        segments = path.strip("/").split("/")
        if kind == "prefetch":
            bucket, key = self.cloud.place(segments[1])
            if bucket.get(key) is None:
                raise Refused(478, "mirror source failed")
            return None
        if kind == "sisyphus":
            if ask.method == "GET":
                return {"id": ask.parameter("id"), "wait": 0}
            wanted = json.loads(ask.body)
            self._fetch(wanted["url"], wanted["bucket"], wanted.get("key"))
            return {"id": uuid.uuid4().hex, "wait": 0}
        bucket_name, colon, key = decoded_text(segments[3]).partition(":")
        return self._fetch(decoded_text(segments[1]), bucket_name, key if colon else None)

    def _fetch(self, url: str, bucket_name: str, key: str | None) -> Any:
        bucket = self.cloud.bucket(bucket_name)
        try:
            with urllib.request.urlopen(url, timeout=10) as source:
                data = source.read()
                mime = source.headers.get("Content-Type") or "application/octet-stream"
        except (urllib.error.URLError, OSError) as exc:
            raise Refused(478, "source failed") from exc
        hash_ = qetag(data)
        key = key if key is not None else hash_
        bucket.put(key, new_object(data, hash_, self.knobs.now_s(), mime, {}))
        return {"hash": hash_, "key": key, "fsize": len(data), "mimeType": mime}

    def _administration(self, first: str, segments: list[str], ask: Ask) -> Any:
        buckets = self.cloud.buckets
        if segments == ["buckets"]:
            return [bucket.name for bucket in buckets]
        if segments == ["v3", "buckets"]:
            region = ask.parameter("region")
            found = [bucket for bucket in buckets if region in (None, "", bucket.region)]
            return [{"tbl": bucket.name, "region": bucket.region} for bucket in found]
        if first == "mkbucketv3":
            self._make_bucket(segments[1], segments[3])
            return None
        if first == "drop":
            if len(self.cloud.bucket(segments[1])):
                raise Refused(403, "drop non empty bucket is not allowed")
            buckets.remove(segments[1])
            return None
        if segments == ["v2", "bucketInfo"]:
            bucket = self.cloud.bucket(ask.parameter("bucket") or "")
            is_private = bucket.name not in self.cloud.public
            return {"region": bucket.region, "private": int(is_private), "source": "", "host": ""}
        if segments == ["v2", "domains"]:
            return [self.domain(self.cloud.bucket(ask.parameter("tbl") or "").name)]
        if segments == ["private"]:
            name = self.cloud.bucket(ask.parameter("bucket") or "").name
            change = (
                self.cloud.public.discard
                if ask.parameter("private") == "1"
                else (self.cloud.public.add)
            )
            change(name)
            return None
        raise Refused(404, "no such path")

    def _make_bucket(self, name: str, region: str) -> None:
        if not re.fullmatch("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name) or region not in _REGIONS:
            raise Refused(400, "invalid bucket name or region")
        if self.cloud.buckets.get(name) is not None:
            raise Refused(614, "bucket exists")
        self.cloud.buckets.make(name, region, self.knobs.now_s())


def _marked_key(marker: str | None) -> str:
    if not marker:
        return ""
    try:
        key: str = json.loads(decoded(marker))["k"]
    except (Refused, ValueError, KeyError, TypeError) as exc:
        raise Refused(640, "invalid list marker") from exc
    return key
