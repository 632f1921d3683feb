"""Where BOS's keys come from: environment, the file of Baidu's `bcecmd`, or this machine's role.

Temporary keys of the first two say nothing of their end, so the file is looked at again and again:
whoever renews them there need not touch the mount. Secrets appear in no repr, log or exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import ENVIRONMENT, Credentials
from bucketfs.transport.instance_metadata import MetadataService
from bucketfs.transport.key_files import ini_sections, read_keys
from bucketfs.transport.key_texts import checked_text, keys_of_json
from bucketfs.transport.renewing import RenewedCredentials

_SECTION = "Defaults"
_SERVICE = "the instance's metadata service"
METADATA_VARIABLE = "BCE_METADATA_ENDPOINT"
"""Where it is set, the service is asked also for a server that is not Baidu's."""
_METADATA = "http://169.254.169.254"
_ROLE = "/latest/meta-data/sts-credential"
"""Where a BCC instance finds the keys of its IAM role (cloud.baidu.com/doc/BCC/s/jm4bbrdmn)."""


class BosCredentials(RenewedCredentials):
    """Finds credentials where Baidu's tools look for them, and renews them.

    `environment` has `BCE_ACCESS_KEY_ID`, `BCE_SECRET_ACCESS_KEY` and perhaps `BCE_SESSION_TOKEN`;
    without them, `credentials` in `~/.go-bcecli` is read. `allow_metadata`: ask the instance's
    metadata service, over the network, where nothing else gives keys.
    """

    def __init__(self, environment: Mapping[str, str], *, allow_metadata: bool = True) -> None:
        super().__init__(self._search)
        self._environment = environment
        self._file = Path(environment.get("HOME") or "/root") / ".go-bcecli" / "credentials"
        self._metadata = MetadataService(_SERVICE) if allow_metadata else None

    async def _search(self) -> Credentials:
        """Return credentials. Raises: ConfigurationError (none, or malformed), Transient."""
        found = self._from_environment()
        if found is None:
            found = await trio.to_thread.run_sync(self._from_file)
        if found is None and self._metadata is not None:
            origin = self._environment.get(METADATA_VARIABLE) or _METADATA
            answer = await self._metadata.find(origin + _ROLE)
            found = keys_of_json(answer.body, _SERVICE) if answer is not None else None
        if found is None:
            raise ConfigurationError(
                "no credentials found: set BCE_ACCESS_KEY_ID and BCE_SECRET_ACCESS_KEY, or let "
                f"`bcecmd -c` write {self._file}"
            )
        return found

    def _from_environment(self) -> Credentials | None:
        names = ("BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY", "BCE_SESSION_TOKEN")
        access_key, secret_key, token = (self._environment.get(name) for name in names)
        if not access_key and not secret_key:
            return None
        return _credentials(ENVIRONMENT, access_key, secret_key, token)

    def _from_file(self) -> Credentials | None:
        sections = read_keys(self._file, ini_sections, "file of bcecmd")
        if sections is None:
            return None
        values = sections.get(_SECTION, {})
        where = str(self._file)
        found = _credentials(where, values.get("ak"), values.get("sk"), values.get("sts"))
        return replace(found, is_of_file=True)


def _credentials(
    where: str, access_key: str | None, secret_key: str | None, token: str | None
) -> Credentials:
    access_key, secret_key, token = (_clean(value) for value in (access_key, secret_key, token))
    if not access_key or not secret_key:
        missing = "secret access key" if access_key else "access key id"
        raise ConfigurationError(f"there is no {missing} of BOS in {where}")
    for value in (access_key, secret_key, token or ""):
        checked_text(value, where)
    return Credentials(access_key, secret_key, token, origin=where)


def _clean(value: str | None) -> str | None:
    return (value or "").strip().strip('"') or None
