"""ProfileFiles: what AWS's shared files say of one profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bucketfs.errors import ConfigurationError
from bucketfs.transport.key_files import ini_sections, read_keys


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
