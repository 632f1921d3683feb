"""Where S3's keys come from: environment, files, a command, a token, or the machine that we run on.

The order is that of the AWS SDKs: environment, web identity, shared files of the profile (what only
`botocore` can do, then keys, then `credential_process`), container endpoint, instance metadata
(IMDSv2). Secrets appear in no repr, log or exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.botocore_keys import find_by_botocore
from bucketfs.transport.credential_command import CommandKeys
from bucketfs.transport.credentials import ENVIRONMENT, Credentials
from bucketfs.transport.key_texts import keys_of
from bucketfs.transport.machine_aws import Machine
from bucketfs.transport.profile_files import ProfileFiles
from bucketfs.transport.renewing import RenewedCredentials
from bucketfs.transport.web_identity import WebIdentity

_OF_BOTOCORE = ("role_arn", "sso_session", "sso_start_url", "sso_account_id", "login_session")


class CredentialChain(RenewedCredentials):
    """Finds credentials where the AWS SDKs look for them, and renews them.

    `allow_metadata`: ask the container's or instance's metadata service, over the network, where
    nothing else gives keys; a mount of a server that is not Amazon's says False.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        profile: str | None = None,
        allow_metadata: bool = True,
    ) -> None:
        self._environment = environment
        self._files = ProfileFiles(environment, profile)
        self._profile = profile
        self._machine = Machine(environment) if allow_metadata else None
        super().__init__(self._search)

    async def _search(self) -> Credentials:
        if self._profile is None:
            found = _from_environment(self._environment)
            if found is not None:
                return found
            identity = WebIdentity.of_environment(self._environment)
            if identity is not None:
                return await identity.find()
        found = await self._from_files()
        if found is None and self._machine is not None:
            found = await self._machine.get()
        if found is None:
            raise ConfigurationError(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put a "
                "profile into ~/.aws/credentials and name it with -o profile=NAME"
            )
        return found

    async def _from_files(self) -> Credentials | None:
        values = await trio.to_thread.run_sync(self._files.read)
        where = f"profile {self._files.profile!r}"
        identity = WebIdentity.of_profile(values, self._environment)
        if identity is not None:
            return await identity.find()
        needed = next((name for name in _OF_BOTOCORE if name in values), None)
        if needed is not None:
            return await find_by_botocore(
                self._files.profile, needed, has_mfa="mfa_serial" in values
            )
        if "aws_access_key_id" in values:
            if not values.get("aws_secret_access_key"):
                raise ConfigurationError(f"{where} has a key id but no aws_secret_access_key")
            names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
            found = keys_of({name: values.get(name) for name in names}, where)
            return replace(found, is_of_file=True)
        if "credential_process" in values:
            name = f"the credential_process of {where}"
            return await CommandKeys(values["credential_process"], name).find()
        return None


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    access_key = environment.get("AWS_ACCESS_KEY_ID")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        missing = "AWS_SECRET_ACCESS_KEY" if access_key else "AWS_ACCESS_KEY_ID"
        raise ConfigurationError(f"{missing} is not set, but its other half is")
    token = environment.get("AWS_SESSION_TOKEN") or None
    return Credentials(access_key, secret_key, token, origin=ENVIRONMENT)
