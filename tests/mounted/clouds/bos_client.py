"""Baidu's SDK beside a mounted BOS bucket."""

from __future__ import annotations

from collections.abc import Mapping

from baidubce.auth.bce_credentials import BceCredentials
from baidubce.bce_client_configuration import BceClientConfiguration
from baidubce.services.bos.bos_client import BosClient

from tests.emulators.bos.cloud import ACCESS_KEY, SECRET_KEY
from tests.emulators.serving import RunningEmulator
from tests.mounted.clouds.other_client import SHOWN_HEADERS, Head

_PREFIX = "bce_meta_"


def sdk(server: RunningEmulator) -> BosClient:
    """Return a client of the SDK with the emulator's own keys."""
    keys = BceCredentials(ACCESS_KEY, SECRET_KEY)
    return BosClient(BceClientConfiguration(credentials=keys, endpoint=server.endpoint))


class BaiduClient:
    """A bucket of the emulated BOS."""

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
        """`put_object_from_string`."""
        self._client.put_object_from_string(
            self._bucket,
            key,
            body,
            content_type=content_type,
            user_metadata=dict(metadata) if metadata else None,
            user_headers=dict(headers) if headers else None,
        )

    def get(self, key: str) -> bytes:
        """`get_object_as_string`."""
        body: bytes = self._client.get_object_as_string(self._bucket, key)
        return body

    def head(self, key: str) -> Head:
        """`get_object_meta_data`; the SDK makes attributes of the names of headers."""
        found = self._client.get_object_meta_data(self._bucket, key).metadata
        names = {name: name.lower().replace("-", "_") for name in SHOWN_HEADERS}
        return Head(
            int(found.content_length),
            found.etag.strip('"'),
            found.content_type,
            {n.removeprefix(_PREFIX): v for n, v in vars(found).items() if n.startswith(_PREFIX)},
            {name: getattr(found, own) for name, own in names.items() if getattr(found, own)},
        )

    def delete(self, key: str) -> None:
        """`delete_object`."""
        self._client.delete_object(self._bucket, key)

    def keys(self, prefix: str) -> list[str]:
        """`list_all_objects`."""
        return [item.key for item in self._client.list_all_objects(self._bucket, prefix=prefix)]

    def unfinished(self, prefix: str) -> list[str]:
        """`list_multipart_uploads`."""
        answer = self._client.list_multipart_uploads(self._bucket, prefix=prefix)
        return [item.key for item in answer.uploads]
