"""Qiniu's own SDK, told to find all of Kodo at an emulator: another program that uses a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from qiniu import Auth, BucketManager, put_data, put_file_v2
from qiniu.http.endpoint import Endpoint
from qiniu.http.region import Region, ServiceName
from qiniu.services.storage.upload_progress_recorder import UploadProgressRecorder

from tests.emulators.serving import RunningEmulator


class Sdk:
    """The SDK with the keys of an emulator, and one bucket. Answers are (ret, info), as its own."""

    def __init__(self, server: RunningEmulator, bucket: str) -> None:
        self.server = server
        self.bucket = bucket
        environment = server.environment
        self.auth = Auth(environment["QINIU_ACCESS_KEY"], environment["QINIU_SECRET_KEY"])
        self.place = server.endpoint.partition("://")[2]
        services = {name: [Endpoint(self.place, default_scheme="http")] for name in ServiceName}
        self.regions = [Region(region_id="z0", services=services)]
        self.manager = BucketManager(self.auth, regions=self.regions, preferred_scheme="http")

    def token(self, key: str | None = None, **policy: Any) -> str:
        """Return an upload token."""
        token: str = self.auth.upload_token(self.bucket, key, 3600, policy, strict_policy=False)
        return token

    def put(self, key: str | None, data: bytes, **more: Any) -> Any:
        """Upload bytes by a form."""
        token = more.pop("token", None) or self.token(key)
        return put_data(token, key, data, regions=self.regions, **more)

    def put_file(self, key: str, path: Path, folder: Path, **more: Any) -> Any:
        """Upload a file: as a form up to 8 MiB, else in parts; its records are kept in `folder`."""
        token = more.pop("token", None) or self.token(key)
        recorder = UploadProgressRecorder(record_folder=str(folder))
        return put_file_v2(
            token,
            key,
            str(path),
            upload_progress_recorder=recorder,
            bucket_name=self.bucket,
            regions=self.regions,
            **more,
        )

    def get(self, key: str, headers: dict[str, str] | None = None, url: str | None = None) -> Any:
        """Download from the bucket's domain by a URL that the SDK signed (or by `url`)."""
        url = url or self.url(key)
        target = url.partition(self.domain)[2]
        host = {"Host": self.domain, "Accept-Encoding": "identity"}
        with requests.Session() as session:
            return session.send(
                # Prepared by hand: requests would tidy the path up.
                _prepared(f"{self.server.endpoint}{target}", {**host, **(headers or {})})
            )

    def url(self, key: str, expires_s: int = 3600) -> str:
        """Return the signed URL of a key."""
        quoted = quote(key, safe="/")
        base = f"http://{self.domain}/{quoted}"
        signed: str = self.auth.private_download_url(base, expires_s)
        return signed

    @property
    def domain(self) -> str:
        """The bucket's download domain."""
        name: str = self.server.emulator.domain(self.bucket)
        return name

    def keys(self, prefix: str = "") -> list[str]:
        """List all keys."""
        found: list[str] = []
        marker = None
        while True:
            ret, _, _ = self.manager.list(self.bucket, prefix=prefix, marker=marker)
            found += [item["key"] for item in ret["items"]]
            marker = ret.get("marker")
            if not marker:
                return found


def _prepared(url: str, headers: dict[str, str]) -> requests.PreparedRequest:
    prepared = requests.Request("GET", url, headers=headers).prepare()
    prepared.url = url
    return prepared
