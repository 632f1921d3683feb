"""Tencent's official Python SDK, pointed at the emulator as at an HTTP proxy."""

from __future__ import annotations

from typing import Any

from qcloud_cos import CosConfig, CosS3Client

from tests.emulators.cos.cloud import REGION, SECRET_ID, SECRET_KEY
from tests.emulators.serving import RunningEmulator


def sdk(server: RunningEmulator, secret_key: str = SECRET_KEY, **more: Any) -> CosS3Client:
    """Return a client of the SDK with the emulator's own keys."""
    config = CosConfig(
        Region=REGION,
        SecretId=SECRET_ID,
        SecretKey=secret_key,
        Scheme="http",
        Proxies={"http": server.endpoint},
        **more,
    )
    return CosS3Client(config, retry=0)
