"""Tencent's SDK beside a mounted COS bucket."""

from __future__ import annotations

from collections.abc import Mapping

from tests.emulators.cos_client import sdk
from tests.emulators.serving import RunningEmulator
from tests.mounted.clouds.other_client import SHOWN_HEADERS, Head

_PREFIX = "x-cos-meta-"


class CosClient:
    """A bucket of the emulated COS."""

    def __init__(self, server: RunningEmulator, bucket: str) -> None:
        self._client = sdk(server)
        self._bucket = bucket

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`put_object`."""
        more: dict[str, object] = {n.replace("-", ""): v for n, v in (headers or {}).items()}
        if content_type:
            more["ContentType"] = content_type
        if metadata:
            more["Metadata"] = {_PREFIX + name: value for name, value in metadata.items()}
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **more)

    def get(self, key: str) -> bytes:
        """`get_object`, undecoded whatever its Content-Encoding says."""
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        body: bytes = answer["Body"].get_raw_stream().read()
        return body

    def head(self, key: str) -> Head:
        """`head_object`."""
        answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return Head(
            int(answer["Content-Length"]),
            answer["ETag"].strip('"'),
            answer.get("Content-Type"),
            {
                name.lower().removeprefix(_PREFIX): value
                for name, value in answer.items()
                if name.lower().startswith(_PREFIX)
            },
            {name: answer[name] for name in SHOWN_HEADERS if name in answer},
        )

    def delete(self, key: str) -> None:
        """`delete_object`."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """`list_objects`, all pages."""
        found: list[str] = []
        marker = ""
        while True:
            page = self._client.list_objects(Bucket=self._bucket, Prefix=prefix, Marker=marker)
            found += [item["Key"] for item in page.get("Contents", ())]
            if page.get("IsTruncated") != "true":
                return found
            marker = page["NextMarker"]

    def unfinished(self, prefix: str) -> list[str]:
        """`list_multipart_uploads`."""
        answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for item in answer.get("Upload", ())]
