"""Where BOS's keys come from: the environment, or the file of Baidu's own command `bcecmd`.

Temporary keys (with a session token) say nothing of their end. So the file is read again when the
server refuses what it held: whoever renews it there need not touch the mount. Secrets appear in no
repr, log or exception.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

import trio

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import Credentials

_SECTION = "Defaults"


class BosCredentials:
    """Finds credentials and reads them again when they were refused.

    `environment` has `BCE_ACCESS_KEY_ID`, `BCE_SECRET_ACCESS_KEY` and perhaps `BCE_SESSION_TOKEN`;
    without them, `credentials` in `~/.go-bcecli` is read. Concurrent `get`s wait for one reading.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        home = Path(environment.get("HOME") or "/root")
        self._file = home / ".go-bcecli" / "credentials"
        self._lock = trio.Lock()
        self._known: Credentials | None = None
        self._refused: Credentials | None = None

    async def get(self) -> Credentials:
        """Return the credentials. Raises: ConfigurationError (there are none, or malformed)."""
        if self._known is not None:
            return self._known
        async with self._lock:
            if self._known is None:
                self._known = await self._find()
            return self._known

    def invalidate(self, refused: Credentials) -> bool:
        """Forget `refused`; return whether `get` may have others.

        The same keys twice in a row are not asked for a third time.
        """
        if self._known is not refused:
            return True
        if self._is_from_environment() or self._refused == refused:
            return False
        self._refused = refused
        self._known = None
        return True

    def _is_from_environment(self) -> bool:
        names = ("BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY")
        return any(self._environment.get(name) for name in names)

    async def _find(self) -> Credentials:
        if self._is_from_environment():
            return _credentials(
                "the environment",
                self._environment.get("BCE_ACCESS_KEY_ID"),
                self._environment.get("BCE_SECRET_ACCESS_KEY"),
                self._environment.get("BCE_SESSION_TOKEN"),
            )
        values = await trio.to_thread.run_sync(self._read_file)
        if values is None:
            raise ConfigurationError(
                "no credentials found: set BCE_ACCESS_KEY_ID and BCE_SECRET_ACCESS_KEY, or let "
                f"`bcecmd -c` write {self._file}"
            )
        return _credentials(str(self._file), values.get("ak"), values.get("sk"), values.get("sts"))

    def _read_file(self) -> Mapping[str, str] | None:
        parser = configparser.RawConfigParser(default_section="\0", strict=False)
        try:
            parser.read_string(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as exc:
            raise ConfigurationError(f"{self._file} may not be read") from exc
        except (OSError, ValueError, configparser.Error) as exc:
            # The parser's text quotes the line, which may hold a secret: it goes nowhere.
            raise ConfigurationError(
                f"{self._file} is not a valid file of bcecmd ({type(exc).__name__})"
            ) from None
        return dict(parser.items(_SECTION)) if parser.has_section(_SECTION) else {}


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
