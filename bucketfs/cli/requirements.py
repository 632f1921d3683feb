"""What the machine must have besides Python packages, and what brings it where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from bucketfs.errors import ConfigurationError

PACKAGES = (
    ("Debian, Ubuntu", "apt install fuse3", "apt install libfuse3-dev"),
    ("Fedora", "dnf install fuse3", "dnf install fuse3 fuse3-devel"),
    ("Arch", "pacman -S fuse3", "pacman -S fuse3"),
)
"""A distribution, what brings its fusermount3, and what brings libfuse3 (and builds pyfuse3)."""


def missing_program() -> ConfigurationError:
    """Return what to say where there is no fusermount3."""
    how = "; ".join(f"{name}: {program}" for name, program, _ in PACKAGES)
    return ConfigurationError(f"fusermount3 is missing: install it ({how})")


def check_program() -> None:
    """Make sure that mounts can be made and ended. Raises: ConfigurationError."""
    if shutil.which("fusermount3") is None:
        raise missing_program()


@contextmanager
def needing_fuse() -> Iterator[None]:
    """Import in this block what needs libfuse3. Raises: ConfigurationError where it is missing."""
    try:
        yield
    except ImportError as exc:
        if not (exc.name or "").startswith("pyfuse3"):
            raise
        how = "; ".join(f"{name}: {library}" for name, _, library in PACKAGES)
        raise ConfigurationError(
            f"libfuse3 or pyfuse3 is missing or broken ({exc}): install it ({how})"
        ) from exc
