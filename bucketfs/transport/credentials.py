"""Where S3's keys come from: environment, files, a command, or the machine that we run on.

The order is that of the AWS SDKs: environment, shared files of the profile (keys, then
`credential_process`), container endpoint, instance metadata (IMDSv2). What expires is fetched again
five minutes earlier. Secrets appear in no repr, log or exception.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import trio

from bucketfs.errors import ConfigurationError, ConfusedServer, Transient
from bucketfs.transport.instance_metadata import MetadataService
from bucketfs.transport.key_files import ini_sections, read_keys

_EARLY_S = 300.0
"""Keys are renewed this long before they expire (the SDKs: 10 to 15 minutes), or after half of the
time that was left of them, if that is later: some machines are lent keys for a few minutes only."""
_YOUNG_S = 30.0
"""Keys younger than this are not fetched again on a refusal: the refusal has another reason."""
_PROCESS_TIMEOUT_S = 60.0
_INSTANCE = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair; `expires_at_s` is in seconds since 1970, None: it does not expire."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at_s: float | None = None


class CredentialSource(Protocol):
    """Gives the credentials of the moment."""

    async def get(self) -> Credentials:
        """Return valid credentials. Raises: ConfigurationError, Transient."""

    def invalidate(self, refused: Credentials) -> bool:
        """Say that the server refused `refused`; return whether `get` may have others."""


class FixedCredentials:
    """Credentials that were given and never change."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        """Return them."""
        return self._credentials

    def invalidate(self, refused: Credentials) -> bool:
        """Return False: there are no others."""
        return False


class RenewedCredentials:
    """What `find` gives, remembered until shortly before its end.

    Concurrent `get`s wait for one `find`. Keys that have not ended yet are used on where `find`
    fails for the moment.
    """

    def __init__(self, find: Callable[[], Awaitable[Credentials]]) -> None:
        self._fetch = find
        self._lock = trio.Lock()
        self._known: Credentials | None = None
        self._known_since_s = 0.0

    async def get(self) -> Credentials:
        """Return credentials that are good for now. Raises: what `find` raises."""
        known = self._known
        if known is not None and not self._is_ending(known):
            return known
        async with self._lock:
            if self._known is None or self._is_ending(self._known):
                try:
                    self._known = await self._fetch()
                except Transient:
                    if self._known is None or _has_ended(self._known):
                        raise
                self._known_since_s = time.time()
            return self._known

    def invalidate(self, refused: Credentials) -> bool:
        """Forget `refused`, unless they are young; return whether to try again with `get`."""
        if self._known is not refused:
            return True
        if time.time() - self._known_since_s < _YOUNG_S:
            return False
        self._known = None
        return True

    def _is_ending(self, known: Credentials) -> bool:
        expires = known.expires_at_s
        if expires is None:
            return False
        return time.time() >= expires - min(_EARLY_S, (expires - self._known_since_s) / 2)


def _has_ended(credentials: Credentials) -> bool:
    expires = credentials.expires_at_s
    return expires is not None and time.time() >= expires


class ProfileFiles:
    """AWS's shared `credentials` and `config` files, one profile of them.

    `environment` says where they are (`AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE`, `HOME`) and
    which profile is meant (`AWS_PROFILE`) where `profile` is None.
    """

    def __init__(self, environment: Mapping[str, str], profile: str | None = None) -> None:
        home = Path(environment.get("HOME") or "/root") / ".aws"
        self._is_named = profile is not None or bool(environment.get("AWS_PROFILE"))
        self.profile = profile or environment.get("AWS_PROFILE") or "default"
        self._credentials = Path(
            environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"
        )
        self._config = Path(environment.get("AWS_CONFIG_FILE") or home / "config")

    def read(self) -> Mapping[str, str]:
        """Return the profile's values (keys, `region` ...); those of `credentials` go first.

        Blocks shortly. Raises: ConfigurationError (a file is malformed or unreadable; a profile
        that was asked for by name is in neither).
        """
        sections = [self.profile] if self.profile == "default" else []
        config = self._section(self._config, [f"profile {self.profile}", *sections])
        credentials = self._section(self._credentials, [self.profile])
        if config is None and credentials is None and self._is_named:
            raise ConfigurationError(
                f"there is no profile {self.profile!r} in {self._credentials} or {self._config}"
            )
        return {**(config or {}), **(credentials or {})}

    def _section(self, path: Path, names: list[str]) -> dict[str, str] | None:
        sections = read_keys(path, ini_sections, "AWS file") or {}
        return next((dict(sections[name]) for name in names if name in sections), None)


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
        self._has_profile = profile is not None
        self._metadata = _Machine(environment) if allow_metadata else None
        super().__init__(self._find)

    async def _find(self) -> Credentials:
        if not self._has_profile:
            found = _from_environment(self._environment)
            if found is not None:
                return found
        found = await trio.to_thread.run_sync(self._from_files)
        if found is None and self._metadata is not None:
            found = await self._metadata.get()
        if found is None:
            raise ConfigurationError(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put a "
                "profile into ~/.aws/credentials and name it with -o profile=NAME"
            )
        return found

    def _from_files(self) -> Credentials | None:
        values = self._files.read()
        where = f"profile {self._files.profile!r}"
        if "aws_access_key_id" in values:
            secret = values.get("aws_secret_access_key")
            if not secret:
                raise ConfigurationError(f"{where} has a key id but no aws_secret_access_key")
            return Credentials(
                values["aws_access_key_id"], secret, values.get("aws_session_token") or None
            )
        if "credential_process" in values:
            return _from_process(values["credential_process"], where)
        for unsupported in ("role_arn", "sso_session", "sso_start_url"):
            if unsupported in values:
                raise ConfigurationError(
                    f"{where} uses {unsupported}, which bucketfs does not do by itself: use "
                    "credential_process = aws configure export-credentials --profile NAME"
                )
        return None


class _Machine:
    """The container's credential endpoint, or the instance's metadata service (IMDSv2)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._container = MetadataService("container credentials")
        self._instance = MetadataService("instance metadata")
        self._environment = environment

    async def get(self) -> Credentials | None:
        """Return the machine's credentials, None where there is no such service."""
        relative = self._environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative or full:
            return await self._of_container(full or _CONTAINER + (relative or ""))
        if self._environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        origin = self._environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _INSTANCE
        return await self._of_instance(origin.rstrip("/"))

    async def _of_container(self, url: str) -> Credentials:
        headers = {}
        token_file = self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if token_file:
            try:
                headers["Authorization"] = (await trio.Path(token_file).read_text()).strip()
            except OSError as exc:
                raise ConfigurationError(f"{token_file} cannot be read: {exc.strerror}") from exc
        elif token := self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["Authorization"] = token
        answer = await self._container.get(url, headers)
        return _from_json(answer, "the container's credential endpoint", "Token")

    async def _of_instance(self, origin: str) -> Credentials | None:
        try:
            answer = await self._instance.ask(
                f"{origin}/latest/api/token",
                {"X-aws-ec2-metadata-token-ttl-seconds": "21600"},
                "PUT",
            )
        except (Transient, ConfusedServer):
            return None  # Most machines that are no instances have no such address at all.
        if answer.status != 200:
            return None
        headers = {"X-aws-ec2-metadata-token": answer.body.decode("latin-1").strip()}
        folder = f"{origin}/latest/meta-data/iam/security-credentials/"
        answer = await self._instance.ask(folder, headers)
        if answer.status == 404:
            return None  # An instance without a role.
        roles = self._instance.checked(answer).decode("latin-1").split()
        if not roles:
            return None
        keys = await self._instance.get(folder + roles[0], headers)
        return _from_json(keys, "the instance's metadata service", "Token")


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    access_key = environment.get("AWS_ACCESS_KEY_ID")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        missing = "AWS_SECRET_ACCESS_KEY" if access_key else "AWS_ACCESS_KEY_ID"
        raise ConfigurationError(f"{missing} is not set, but its other half is")
    return Credentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN") or None)


def _from_process(command: str, where: str) -> Credentials:
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROCESS_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise Transient(f"the credential_process of {where} does not end", sent=False) from exc
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the credential_process of {where} cannot be run: {exc}") from exc
    if done.returncode != 0:
        raise ConfigurationError(
            f"the credential_process of {where} failed with exit status {done.returncode}"
        )
    return _from_json(done.stdout, f"the credential_process of {where}", "SessionToken")


def _from_json(text: bytes, where: str, token_name: str) -> Credentials:
    try:
        values = json.loads(text)
        expires = values.get("Expiration")
        return Credentials(
            values["AccessKeyId"],
            values["SecretAccessKey"],
            values.get(token_name) or None,
            _seconds(expires) if expires else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        # The text holds the secret: neither it nor the parser's error may be seen.
        raise ConfigurationError(
            f"{where} gave no valid credentials ({type(exc).__name__})"
        ) from None


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
