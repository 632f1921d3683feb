"""The keys of a mount that a person said where to find: those of every cloud, by the same options.

Without such an option each cloud has its own places, in `credentials_*.py`.
"""

from __future__ import annotations

from pathlib import Path

from bucketfs.transport.credential_command import CommandKeys
from bucketfs.transport.credential_file import FileKeys
from bucketfs.transport.renewing import RenewedCredentials


def given_credentials(
    command: str | None, file: Path | None, section: str | None = None
) -> RenewedCredentials | None:
    """Return what `credential_command=` or `credential_file=` gives; None: neither was given.

    `section` of the file: `profile=`.
    """
    if command is not None:
        return RenewedCredentials(CommandKeys(command, "credential_command").find)
    if file is not None:
        return RenewedCredentials(FileKeys(file, section).find)
    return None
