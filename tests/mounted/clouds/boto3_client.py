"""boto3 beside a mount: for `s3://` and for Libcloud's drivers of the S3 family."""

from __future__ import annotations

from collections.abc import Mapping

from tests.mounted.clouds.other_client import SHOWN_HEADERS, Head
from tests.servers.s3_server import RunningS3


class Boto3Client:
    """A bucket of an S3 server."""

    def __init__(self, server: RunningS3, bucket: str) -> None:
        self._client = server.client()
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
        """PutObject."""
        more = {name.replace("-", ""): value for name, value in (headers or {}).items()}
        if content_type:
            more["ContentType"] = content_type
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=body, Metadata=dict(metadata or {}), **more
        )

    def get(self, key: str) -> bytes:
        """GetObject."""
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def head(self, key: str) -> Head:
        """HeadObject. The JuiceFS gateway tells no ETag of markers."""
        answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return Head(
            answer["ContentLength"],
            answer.get("ETag", "").strip('"'),
            answer.get("ContentType"),
            answer["Metadata"],
            {n: answer[n.replace("-", "")] for n in SHOWN_HEADERS if n.replace("-", "") in answer},
        )

    def delete(self, key: str) -> None:
        """DeleteObject."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """ListObjectsV2, all pages."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def unfinished(self, prefix: str) -> list[str]:
        """ListMultipartUploads."""
        answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for item in answer.get("Uploads", [])]
