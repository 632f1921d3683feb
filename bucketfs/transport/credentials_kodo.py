"""Where Kodo's keys come from: the environment's QINIU_ACCESS_KEY and QINIU_SECRET_KEY.

Kodo's own language knows no temporary keys, and its tools document no file of keys that others may
read. Secrets appear in no repr, log or exception.
"""

from __future__ import annotations

from collections.abc import Mapping

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import ENVIRONMENT, Credentials

_NAMES = ("QINIU_ACCESS_KEY", "QINIU_SECRET_KEY")


class KodoCredentials:
    """The key pair of an environment, which never changes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: Credentials | None = None

    async def get(self) -> Credentials:
        """Return the key pair. Raises: ConfigurationError (there is none, or half of one)."""
        if self._known is None:
            missing = [name for name in _NAMES if not self._environment.get(name)]
            if missing:
                raise ConfigurationError(
                    f"no credentials found: {' and '.join(missing)} must be set in the environment"
                )
            access_key, secret_key = (self._environment[name] for name in _NAMES)
            self._known = Credentials(access_key, secret_key, origin=ENVIRONMENT)
        return self._known

    async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
        """Return None: there are no others."""
        return None
