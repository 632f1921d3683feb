"""Where BOS's keys come from: environment, the file of Baidu's `bcecmd`, or this machine's role.

Temporary keys of the first two say nothing of their end, so they are looked for again when the
server refuses them: whoever renews them in the file need not touch the mount. Secrets appear in no
repr, log or exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import Credentials, RenewedCredentials
from bucketfs.transport.instance_metadata import MetadataService
from bucketfs.transport.key_files import ini_sections, read_keys

_SECTION = "Defaults"
_SERVICE = "the instance's metadata service"
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
            origin = self._environment.get("BCE_METADATA_ENDPOINT") or _METADATA
            answer = await self._metadata.find(origin + _ROLE)
            found = _from_role(answer.body) if answer is not None else None
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
        return _credentials("the environment", access_key, secret_key, token)

    def _from_file(self) -> Credentials | None:
        sections = read_keys(self._file, ini_sections, "file of bcecmd")
        if sections is None:
            return None
        values = sections.get(_SECTION, {})
        return _credentials(str(self._file), values.get("ak"), values.get("sk"), values.get("sts"))


def _credentials(
    where: str, access_key: str | None, secret_key: str | None, token: str | None
) -> Credentials:
    access_key, secret_key, token = (_clean(value) for value in (access_key, secret_key, token))
    if not access_key or not secret_key:
        missing = "secret access key" if access_key else "access key id"
        raise ConfigurationError(f"there is no {missing} of BOS in {where}")
    for value in (access_key, secret_key, token or ""):
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(f"a key of BOS in {where} has characters that keys never have")
    return Credentials(access_key, secret_key, token)


def _clean(value: str | None) -> str | None:
    return (value or "").strip().strip('"') or None


def _from_role(text: bytes) -> Credentials:
    """Return the keys of a role, in the words of Baidu's STS.

    Its documents name the secret once `secretAccessKey` and once `accessKeySecret`.
    """
    try:
        values = json.loads(text)
        moment = datetime.fromisoformat(values["expiration"])
        return Credentials(
            values["accessKeyId"],
            values.get("secretAccessKey") or values["accessKeySecret"],
            values["sessionToken"],
            (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        # The text holds the secret: neither it nor the parser's error may be seen.
        raise ConfigurationError(f"{_SERVICE} gave no valid keys ({type(exc).__name__})") from None
