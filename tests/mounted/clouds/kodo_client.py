"""Qiniu's SDK beside a mounted Kodo bucket."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.emulators.kodo.sdk import Sdk
from tests.emulators.serving import RunningEmulator
from tests.mounted.clouds.other_client import Head

_PREFIX = "x-qn-meta-"


class KodoClient:
    """A bucket of the emulated Kodo. It keeps no headers, and lists no unfinished uploads."""

    def __init__(self, server: RunningEmulator, bucket: str) -> None:
        self._sdk = Sdk(server, bucket)

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`put_data`: an upload by form. An empty object has nothing beside it."""
        if not body:
            # put_data takes no empty body.
            with tempfile.TemporaryDirectory() as folder:
                _, info = self._sdk.put_file(key, Path(os.devnull), Path(folder))
            assert info.status_code == 200, info
            return
        more: dict[str, object] = {"mime_type": content_type} if content_type else {}
        if metadata:
            more["metadata"] = {_PREFIX + name: value for name, value in metadata.items()}
        _, info = self._sdk.put(key, body, **more)
        assert info.status_code == 200, info

    def get(self, key: str) -> bytes:
        """Download by a signed URL."""
        answer = self._sdk.get(key)
        assert answer.status_code == 200, answer
        body: bytes = answer.content
        return body

    def head(self, key: str) -> Head:
        """`BucketManager.stat`."""
        found, info = self._sdk.manager.stat(self._sdk.bucket, key)
        assert info.status_code == 200, info
        return Head(
            found["fsize"], found["hash"], found.get("mimeType"), found.get("x-qn-meta") or {}
        )

    def delete(self, key: str) -> None:
        """`BucketManager.delete`."""
        _, info = self._sdk.manager.delete(self._sdk.bucket, key)
        assert info.status_code in (200, 612), info

    def keys(self, prefix: str) -> list[str]:
        """`BucketManager.list`, all pages."""
        return self._sdk.keys(prefix)

    def unfinished(self, prefix: str) -> list[str]:
        """Fail: Kodo cannot say it."""
        raise NotImplementedError("Kodo lists no uploads")
