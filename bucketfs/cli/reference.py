"""What documents say of settings, made from the tables that the program itself goes by.

`python -m bucketfs.cli.reference docs/configuration.md` writes what stands between the markers
anew; everything else in the file is prose and stays. A test holds the file to it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bucketfs.cli.profiles import DEFAULTS, FILE_VARIABLE, SECRET_KEYS, SYSTEM_FILE
from bucketfs.cli.resolving import variable_of
from bucketfs.options import IGNORED, KERNEL_FLAGS, OPTIONS, Option, describe
from bucketfs.values import parse_count, parse_names

_MARKED = re.compile(r"(<!-- made: (\w+) -->\n)(?:(?!<!-- made).)*?(<!-- end -->)", re.DOTALL)

PLACES: tuple[tuple[str, str], ...] = (
    (f"${FILE_VARIABLE}", "where this variable is set: this file and no other"),
    ("~/.config/bucketfs/config.toml", "one's own ($XDG_CONFIG_HOME goes before ~/.config)"),
    (str(SYSTEM_FILE), "the machine's; a profile of one's own goes before one of its name"),
)
"""Where profiles are looked for, and what that means."""

PROFILE_KEYS: tuple[tuple[str, str], ...] = (
    ("url", "what to mount; the only key that a profile must have"),
    ("mountpoint", "where, if the command does not say it; an absolute path"),
    ("access_key", "key id, as the cloud calls it: AccessKeyId, SecretId, AK"),
    ("secret_key", "the secret that belongs to it"),
    ("session_token", "for temporary keys (S3, COS, BOS)"),
)
"""Keys of a profile that are no options."""

LAYERS: tuple[tuple[str, str], ...] = (
    ("command line", "-o, and arguments"),
    ("environment", "BUCKETFS_..., and the clouds' own variables for keys"),
    ("profile", "the table [NAME] of the file"),
    (DEFAULTS, f"the table [{DEFAULTS}] of the same file"),
    ("default", "of the program; the clouds' own files and variables for region and endpoint"),
)
"""What goes before what, the strongest first."""

EXAMPLE = f"""\
[{DEFAULTS}]                          # for every profile of this file
memory = "256M"

[photos]                            # bucketfs mount photos
url = "cos://photos-1250000000"
mountpoint = "/mnt/photos"
region = "ap-guangzhou"
read_cache = "20G"
writeback = true
access_key = "..."                  # with secrets here: chmod 600
secret_key = "..."

[archive]                           # bucketfs mount archive /mnt/archive
url = "s3://archive/2026"
endpoint = "https://s3.example.net"
ro = true
timeout = 120                       # numbers do, too; so does "2m"
crawler_names = ["restic", "rclone"]
profile = "backup"                  # keys from the shared AWS files"""


def in_profile(option: Option) -> str:
    """Return how an option stands in a profile: `memory = "SIZE"`."""
    if option.parse is None:
        value = "true"
    elif option.parse is parse_count:
        value = option.placeholder
    elif option.parse is parse_names:
        value = '["A", "B"]'
    else:
        value = f'"{option.placeholder}"'
    return f"{option.name} = {value}"


def _options() -> str:
    return f"```\n{describe()}\n```"


def _names() -> str:
    lines = ["| option | in a profile | variable |", "|---|---|---|"]
    lines += [
        f"| `{option.usage}` | `{in_profile(option)}` | `{variable_of(option.name)}` |"
        for option in OPTIONS
    ]
    lines += [f"| | `{key}` | `{variable_of(key)}` |" for key in SECRET_KEYS]
    return "\n".join(lines)


def _keys() -> str:
    lines = ["| key | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{key}` | {meaning} |" for key, meaning in PROFILE_KEYS)])


def _places() -> str:
    return "\n".join(f"{n}. `{path}`: {words}" for n, (path, words) in enumerate(PLACES, 1))


def _layers() -> str:
    return "\n".join(f"{n}. **{name}**: {words}" for n, (name, words) in enumerate(LAYERS, 1))


def _kernel() -> str:
    flags = ", ".join(f"`{flag.name}`" for flag in KERNEL_FLAGS)
    ignored = ", ".join(f"`{name}`" for name in IGNORED)
    return (
        f"Handed to the kernel: {flags}.\n\nAccepted and ignored, because they are for mount(8), "
        f"systemd or other file systems: {ignored}, `comment=...`, `x-...`."
    )


PARTS: Mapping[str, Callable[[], str]] = {
    "options": _options,
    "kernel": _kernel,
    "names": _names,
    "keys": _keys,
    "places": _places,
    "layers": _layers,
    "example": lambda: f"```toml\n{EXAMPLE}\n```",
}
"""What a marker may ask for."""


def with_parts(text: str) -> str:
    """Return a document with everything between its markers made anew."""
    return _MARKED.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    for _name in sys.argv[1:]:
        Path(_name).write_text(with_parts(Path(_name).read_text("utf-8")), "utf-8")
