"""Machine: the keys that Amazon lends to the container or instance that we run in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import trio

from bucketfs.errors import ConfigurationError, ConfusedServer, Transient
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.instance_metadata import MetadataService
from bucketfs.transport.key_texts import keys_of_json

METADATA_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""Where it is set, the service is asked also for a server that is not Amazon's."""
_INSTANCE = "http://169.254.169.254"
_INSTANCE_V6 = "http://[fd00:ec2::254]"
_CONTAINER = "http://169.254.170.2"
_OF_CONTAINERS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
"""ECS and EKS; with a loopback address the only ones that may be asked without TLS, as botocore
has it: the request carries a token."""
_ROLES = "/latest/meta-data/iam/security-credentials/"


class Machine:
    """The container's credential endpoint, or the instance's metadata service (IMDSv2)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._container = MetadataService("container credentials")
        self._instance = MetadataService("instance metadata")
        self._environment = environment

    async def get(self) -> Credentials | None:
        """Return the machine's credentials, None where there is no such service.

        Raises: ConfigurationError, Transient.
        """
        relative = self._environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative or full:
            return await self._of_container(_CONTAINER + relative if relative else full or "")
        if self._environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        return await self._of_instance(self._origin())

    def _origin(self) -> str:
        mode = self._environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "")
        usual = _INSTANCE_V6 if mode.lower() == "ipv6" else _INSTANCE
        origin = self._environment.get(METADATA_VARIABLE) or usual
        return origin.rstrip("/")

    async def _of_container(self, url: str) -> Credentials:
        _check_is_near(url)
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
        return keys_of_json(answer, "the container's credential endpoint")

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
        answer = await self._instance.ask(origin + _ROLES, headers)
        if answer.status == 404:
            return None  # An instance without a role.
        roles = self._instance.checked(answer).decode("latin-1").split()
        if not roles:
            return None
        keys = await self._instance.get(origin + _ROLES + roles[0], headers)
        return keys_of_json(keys, "the instance's metadata service")


def _check_is_near(url: str) -> None:
    """Refuse to send a token over plain HTTP to a far place. Raises: ConfigurationError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_near = host in _OF_CONTAINERS or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_near = host == "localhost"
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_near)):
        raise ConfigurationError(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https:, or http: of this machine"
        )
