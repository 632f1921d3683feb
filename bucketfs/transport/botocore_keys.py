"""The rest of AWS's chain, by `botocore`: roles to assume, single sign-on.

An optional part of the package (`bucketfs[aws]`): most profiles have no need of it.
"""

from __future__ import annotations

from datetime import datetime

import trio

from bucketfs.errors import ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials import Credentials


async def find_by_botocore(profile: str, needed: str, *, has_mfa: bool = False) -> Credentials:
    """Return the keys that botocore finds for `profile`, because of its setting `needed`.

    Each call asks anew, in a thread. `has_mfa`: it would ask for a code, and nobody is there.
    Raises: ConfigurationError, KeysUnavailable.
    """
    if has_mfa:
        raise ConfigurationError(
            f"profile {profile!r} asks for a code (mfa_serial), which nobody can give a mount: use "
            "-o credential_command='aws configure export-credentials --profile NAME'"
        )
    return await trio.to_thread.run_sync(_find, profile, needed, abandon_on_cancel=True)


def _find(profile: str, needed: str) -> Credentials:
    where = f"profile {profile!r}"
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:
        raise ConfigurationError(
            f"{where} uses {needed}, for which botocore is needed: pip install 'bucketfs[aws]'"
        ) from None
    try:
        # It reads the environment by itself, which is that of this process.
        found = botocore.session.Session(profile=profile).get_credentials()
        if found is None:
            raise ConfigurationError(f"botocore finds no keys for {where} ({needed})")
        keys = found.get_frozen_credentials()
    except botocore.exceptions.HTTPClientError as exc:
        raise KeysUnavailable(
            f"AWS does not answer for {where}: {_line(exc)}", sent=False
        ) from None
    except botocore.exceptions.BotoCoreError as exc:
        raise ConfigurationError(
            f"botocore finds no keys for {where} ({needed}): {_line(exc)}"
        ) from None
    except botocore.exceptions.ClientError as exc:
        raise KeysUnavailable(f"AWS gives no keys for {where}: {_line(exc)}", sent=False) from None
    ends = getattr(found, "_expiry_time", None)  # It has no public name.
    expires_at_s = ends.timestamp() if isinstance(ends, datetime) else None
    return Credentials(keys.access_key, keys.secret_key, keys.token or None, expires_at_s, where)


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300]
