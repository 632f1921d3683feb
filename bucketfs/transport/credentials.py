"""Credentials: a key pair, and what everything that gives one has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

ENVIRONMENT = "the environment"
"""The origin of keys that stay as they are as long as this process lives."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair; `expires_at_s` is in seconds since 1970, None: it does not expire.

    `origin` says for people where it came from. `is_of_file`: from a file that somebody else may
    write anew at any time.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at_s: float | None = None
    origin: str = field(default="", compare=False, repr=False)
    is_of_file: bool = field(default=False, compare=False, repr=False)

    def has_keys_of(self, other: Credentials) -> bool:
        """Return whether a server could not tell the two apart."""
        ours = (self.access_key, self.secret_key, self.session_token)
        return ours == (other.access_key, other.secret_key, other.session_token)


class CredentialSource(Protocol):
    """Gives the credentials of the moment."""

    async def get(self) -> Credentials:
        """Return valid credentials. Raises: ConfigurationError, Transient."""

    async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
        """Return others than `refused`, which the server did not take; None: there are none.

        `is_certain` False: it may have refused what was asked, and not who asks.
        Raises: KeysUnavailable (whether there are others cannot be found out at the moment).
        """


class FixedCredentials:
    """Credentials that were given and never change."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        """Return them."""
        return self._credentials

    async def replace(self, refused: Credentials, *, is_certain: bool) -> Credentials | None:
        """Return None: there are no others."""
        return None
