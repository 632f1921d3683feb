"""Where COS's keys come from: environment, Tencent's files, or the role of this machine.

The order is that of Tencent's own tools: the environment (`COS_*`, then `TENCENTCLOUD_*`), the
files of `tccli`, of the SDKs and of `coscmd`, the role of a CVM instance. Secrets appear in no
repr, log or exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import ENVIRONMENT, Credentials
from bucketfs.transport.instance_metadata import MetadataService
from bucketfs.transport.key_files import ini_sections, read_keys
from bucketfs.transport.key_texts import checked_text, keys_of_json
from bucketfs.transport.renewing import RenewedCredentials

_VARIABLES = (
    ("COS_SECRET_ID", "COS_SECRET_KEY", ("COS_TOKEN",)),
    (
        "TENCENTCLOUD_SECRET_ID",
        "TENCENTCLOUD_SECRET_KEY",
        ("TENCENTCLOUD_SESSION_TOKEN", "TENCENTCLOUD_TOKEN"),
    ),
)
_KIND = "file of Tencent's"
_SERVICE = "the instance's metadata service"
METADATA_VARIABLE = "TENCENTCLOUD_METADATA_ENDPOINT"
"""Where it is set, the service is asked also for a server that is not Tencent's."""
_METADATA = "http://metadata.tencentyun.com"
_ROLES = "/latest/meta-data/cam/security-credentials/"


class CosCredentials(RenewedCredentials):
    """Finds credentials where Tencent's tools look for them, and renews them.

    `profile` names one of tccli's and the SDKs' and goes before the environment. `allow_metadata`:
    ask the instance's metadata service, over the network, where nothing else gives keys.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        profile: str | None = None,
        allow_metadata: bool = True,
    ) -> None:
        super().__init__(self._search)
        self._environment = environment
        self._has_profile = profile is not None
        self._files = TencentFiles(environment, profile)
        self._metadata = _InstanceRole(environment) if allow_metadata else None

    async def _search(self) -> Credentials:
        """Return credentials. Raises: ConfigurationError (none, or malformed), Transient."""
        found = None if self._has_profile else _from_environment(self._environment)
        if found is None:
            place, values = await trio.to_thread.run_sync(self._files.locate)
            found = _from_values(str(place), values) if values else None
        if found is None and self._metadata is not None:
            found = await self._metadata.get()
        if found is None:
            raise ConfigurationError(
                "no credentials found: set COS_SECRET_ID and COS_SECRET_KEY, or use a file that "
                "`tccli configure` or `coscmd config` made"
            )
        return found


class TencentFiles:
    """The files in which Tencent's tools keep keys; the first that there is counts.

    Below HOME: `.tccli/PROFILE.credential` (JSON), `.tencentcloud/credentials` (INI, a section for
    each profile), `.cos.conf` (INI, section `common`; `COS_CONFIG_PATH` names another place).
    """

    def __init__(self, environment: Mapping[str, str], profile: str | None = None) -> None:
        home = Path(environment.get("HOME") or "/root")
        self._is_named = profile is not None
        self._profile = profile or environment.get("TENCENTCLOUD_PROFILE") or "default"
        self._tccli = home / ".tccli" / f"{self._profile}.credential"
        self._sdk = home / ".tencentcloud" / "credentials"
        self._coscmd = Path(environment.get("COS_CONFIG_PATH") or home / ".cos.conf")

    def read(self) -> Mapping[str, str]:
        """Return what `locate` does, without the place."""
        return self.locate()[1]

    def locate(self) -> tuple[Path, Mapping[str, str]]:
        """Return a file, and its `secret_id`, `secret_key`, perhaps `token` and `region`; or {}.

        Blocks shortly. Raises: ConfigurationError (a file is malformed or unreadable; a profile
        that was asked for by name is nowhere).
        """
        if found := read_keys(self._tccli, _parse_tccli, _KIND):
            return self._tccli, found
        if found := self._section(self._sdk, self._profile):
            return self._sdk, found
        if self._is_named:
            raise ConfigurationError(
                f"there is no profile {self._profile!r} in {self._tccli} or {self._sdk}"
            )
        return self._coscmd, self._section(self._coscmd, "common")

    def _section(self, path: Path, name: str) -> Mapping[str, str]:
        return (read_keys(path, ini_sections, _KIND) or {}).get(name, {})


class _InstanceRole:
    """The metadata service of a CVM instance, which lends the keys of the instance's role."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._service = MetadataService(_SERVICE)
        self._origin = environment.get(METADATA_VARIABLE) or _METADATA

    async def get(self) -> Credentials | None:
        """Return the role's keys, None where there is no such service or role."""
        answer = await self._service.find(self._origin + _ROLES)
        if answer is None:
            return None
        role = answer.body.decode("latin-1").split()[0]
        return keys_of_json(await self._service.get(self._origin + _ROLES + role), _SERVICE)


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    for id_name, key_name, token_names in _VARIABLES:
        secret_id, secret_key = environment.get(id_name), environment.get(key_name)
        if not secret_id and not secret_key:
            continue
        if not secret_id or not secret_key:
            missing = key_name if secret_id else id_name
            raise ConfigurationError(f"{missing} is not set, but its other half is")
        token = next((environment[name] for name in token_names if environment.get(name)), None)
        return Credentials(
            checked_text(secret_id, ENVIRONMENT),
            checked_text(secret_key, ENVIRONMENT),
            token,
            origin=ENVIRONMENT,
        )
    return None


def _from_values(where: str, values: Mapping[str, str]) -> Credentials:
    secret_id, secret_key = values.get("secret_id"), values.get("secret_key")
    if not secret_id or not secret_key:
        raise ConfigurationError(f"{where} has secret_id or secret_key, but not both")
    secret_id, secret_key = checked_text(secret_id, where), checked_text(secret_key, where)
    token = checked_text(values.get("token", ""), where) or None
    return Credentials(secret_id, secret_key, token, origin=where, is_of_file=True)


def _parse_tccli(text: str) -> Mapping[str, str]:
    values = json.loads(text)
    names = {"secretId": "secret_id", "secretKey": "secret_key", "token": "token"}
    return {name: str(values[theirs]) for theirs, name in names.items() if values.get(theirs)}
