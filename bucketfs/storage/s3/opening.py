"""From a URL and options to an S3Store, with what the environment and the AWS files say."""

from __future__ import annotations

from typing import cast

import trio

from bucketfs.storage.location import StoreOptions, StoreUrl
from bucketfs.storage.s3.addressing import Addressing, find_address
from bucketfs.storage.s3.calls import Payload
from bucketfs.storage.s3.store import S3Store
from bucketfs.transport.client import HttpClient
from bucketfs.transport.credentials_aws import CredentialChain
from bucketfs.transport.given_credentials import given_credentials
from bucketfs.transport.profile_files import ProfileFiles


async def open_s3(location: StoreUrl, options: StoreOptions) -> S3Store:
    """Return the store at `location`, not yet asked anything. Raises: ConfigurationError."""
    files = ProfileFiles(options.environment, options.profile)
    profile = await trio.to_thread.run_sync(files.read)
    environment = options.environment
    endpoint = (
        options.endpoint
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or profile.get("endpoint_url")
    )
    region = (
        options.region
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or profile.get("region")
    )
    # Who builds the options has checked these words.
    addressing, payload = cast(Addressing, options.addressing), cast(Payload, options.payload)
    address = find_address(location.bucket, endpoint, region or "us-east-1", addressing)
    return S3Store(
        location.bucket,
        client=HttpClient(
            concurrency=options.concurrency, timeout_s=options.timeout_s, meter=options.meter
        ),
        credentials=given_credentials(
            options.credential_command, options.credential_file, options.profile
        )
        or CredentialChain(
            environment,
            profile=options.profile,
            allow_metadata=address.is_service
            or bool(environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")),
        ),
        endpoint=endpoint,
        region=region,
        addressing=addressing,
        payload=payload,
    )
