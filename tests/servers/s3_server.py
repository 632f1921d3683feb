"""An S3 server that is running: what a test needs to know to use it, and to look behind a mount."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACCESS_KEY = "ACCESSKEY00000001"
SECRET_KEY = "SECRETKEY00000001"


@dataclass(frozen=True)
class RunningS3:
    """One server on 127.0.0.1. `checks_signatures` False: it lets everybody in."""

    name: str
    endpoint: str
    checks_signatures: bool = True
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables that give a process these keys and no others."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a boto3 client: another program that uses the same bucket."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"max_attempts": 2},
            ),
        )

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name
