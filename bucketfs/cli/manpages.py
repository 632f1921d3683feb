"""Manual pages, from the commands' own help and the table of options: nothing is said twice."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bucketfs import __version__
from bucketfs.cli import reference
from bucketfs.cli.profiles import FILE_VARIABLE, SECRET_KEYS
from bucketfs.cli.resolving import variable_of
from bucketfs.errors import ConfigurationError
from bucketfs.options import OPTIONS, describe

EXIT_STATUSES = (
    ("0", "done"),
    ("1", "something failed, and was named"),
    ("2", "the command was written wrongly"),
    ("130", "interrupted"),
)
_COMMON = ("debug", "help")
"""Options that every command has; they are told once."""

Lines = Iterator[str]


def page(name: str) -> str:
    """Return one page as roff: `bucketfs`, `mount.bucketfs` or `bucketfs.toml`.

    Raises: ConfigurationError (there is no such page).
    """
    found = {title: make for (title, _), make in PAGES.items()}
    if name not in found:
        raise ConfigurationError(f"there is no page {name!r}; there are {', '.join(found)}")
    return "\n".join(found[name]()) + "\n"


def write_pages(folder: Path) -> list[Path]:
    """Write every page below `folder`, as man(1) expects them; return the files.

    Raises: ConfigurationError.
    """
    written = []
    try:
        for name, section in PAGES:
            file = folder / f"man{section}" / f"{name}.{section}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page(name), "utf-8")
            written.append(file)
    except OSError as exc:
        raise ConfigurationError(f"{folder} cannot be written: {exc.strerror}") from exc
    return written


def escaped(text: str) -> str:
    """Return text that roff shows as it is."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    plain = plain.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{plain}" if plain.startswith(".") else plain


def bold(text: str) -> str:
    """Return text in bold."""
    return f"\\fB{escaped(text)}\\fR"


def _head(name: str, section: str, what: str) -> Lines:
    yield f'.TH {name.upper()} {section} "" "bucketfs {__version__}" "bucketfs"'
    yield from (".SH NAME", f"{escaped(name)} \\- {escaped(what)}")


def _tagged(pairs: Sequence[tuple[str, str]]) -> Lines:
    for tag, words in pairs:
        yield from (".TP", bold(tag), escaped(words))


def _verbatim(text: str, *, is_first: bool = False) -> Lines:
    yield from (() if is_first else (".PP",))
    yield from (".RS 4", ".nf", *map(escaped, text.splitlines()), ".fi", ".RE")


def _prose(text: str) -> Lines:
    """Yield the help of a command: paragraphs, and verbatim ones, which begin with a backspace."""
    for paragraph in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        if paragraph.startswith("\b"):
            yield from _verbatim(paragraph.removeprefix("\b").strip("\n"))
        else:
            yield from (".PP", *(escaped(line.strip()) for line in paragraph.splitlines()))


def _commands(command: Any, path: str) -> Lines:
    """Yield the commands below one of click's, each with its own help."""
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if child.hidden:
            continue
        full = f"{path} {name}"
        if hasattr(child, "commands"):
            yield from _commands(child, full)
            continue
        arguments = [item for item in child.params if item.param_type_name == "argument"]
        options = [item for item in child.params if item not in arguments]
        words = [bold(full), "[options]", *(_argument(item) for item in arguments)]
        yield from (f".SS {escaped(full)}", " ".join(words))
        yield from _prose(_without_table(child.help or ""))
        yield from _tagged(
            [(_flags(item), item.help or "") for item in options if item.name not in _COMMON]
        )


def _argument(item: Any) -> str:
    name = escaped(item.metavar or item.name.upper())
    return name if item.required else f"[{name}]"


def _flags(item: Any) -> str:
    flags = ", ".join(item.opts)
    return flags if item.is_flag else f"{flags} {item.metavar or 'NUMBER'}"


def _without_table(text: str) -> str:
    """Return help without the table of options, which has a section of its own."""
    first = describe().splitlines()[0]
    parts = text.split("\n\n")
    return "\n\n".join(
        "The options of -o are listed below (MOUNT OPTIONS)." if first in part else part
        for part in parts
    )


def _options() -> Lines:
    yield from (".SH MOUNT OPTIONS", "Written with commas between; the last of equal ones wins.")
    yield "Sizes take K M G T (powers of 1024), times take ms s m h d."
    yield from _tagged([(option.usage, option.explanation) for option in OPTIONS])
    yield from (".PP", "The options of mount(8) are accepted, too: nosuid, nodev, noexec,")
    yield from ("noatime, _netdev, nofail, noauto, user, x\\-systemd.* and so on.",)


def _order() -> Lines:
    yield ".SH PRECEDENCE"
    yield "What stands further up goes first:"
    yield from _tagged(reference.LAYERS)


def _files() -> Lines:
    yield ".SH FILES"
    yield from _tagged(reference.PLACES)


def _see_also(*names: str) -> Lines:
    yield ".SH SEE ALSO"
    yield ", ".join(names)


def _program() -> Lines:
    import typer

    from bucketfs.cli.app import app

    command = typer.main.get_command(app)
    yield from _head("bucketfs", "1", "mount an object storage bucket as a directory")
    yield from (".SH SYNOPSIS", f"{bold('bucketfs')} COMMAND [options] [arguments]")
    yield from (".SH DESCRIPTION", "One file is one object under the key that its path spells.")
    yield "A bucket is named by its URL, or by a profile of bucketfs.toml(5) that has one."
    yield "Every command has \\-\\-help, and \\-\\-debug for tracebacks."
    yield ".SH COMMANDS"
    yield from _commands(command, "bucketfs")
    yield from _options()
    yield from _order()
    yield ".SH ENVIRONMENT"
    yield from _tagged(
        [
            (FILE_VARIABLE, "the file of profiles"),
            *((variable_of(key), "as in a profile") for key in SECRET_KEYS),
            (variable_of("<option>"), "any option of the table above, its name in capitals"),
        ]
    )
    yield "Flags take true or false."
    yield from _files()
    yield ".SH EXIT STATUS"
    yield from _tagged(EXIT_STATUSES)
    yield from _see_also("bucketfs.toml(5)", "mount.bucketfs(8)", "fuse(8)", "fusermount3(1)")


def _flags_of(name: str) -> Lines:
    """Yield the flags of a hidden command, which a program in /sbin runs."""
    import typer

    from bucketfs.cli.app import app

    command: Any = typer.main.get_command(app)
    options = [
        item
        for item in command.commands[name].params
        if item.param_type_name == "option" and item.name != "help"
    ]
    yield from _tagged([(_flags(item), item.help or "") for item in options])


def _helper() -> Lines:
    yield from _head("mount.bucketfs", "8", "mount a bucket by mount(8) and fstab(5)")
    name = bold("mount.bucketfs")
    yield from (".SH SYNOPSIS", f"{name} URL|PROFILE MOUNTPOINT [\\-o OPT,OPT=VALUE,...]")
    yield from (".SH DESCRIPTION", "What mount(8) runs for the type bucketfs. People use")
    yield "bucketfs mount, which takes the same options: see bucketfs(1)."
    yield escaped("Secrets are no options: a profile has them, or the cloud's own files.")
    yield escaped("`bucketfs install` puts it, and umount.bucketfs, where mount(8) looks.")
    yield ".PP"
    yield escaped("mount(8) says rw wherever nobody says ro; that does not overrule a profile that")
    yield escaped("has ro = true. The exit status is 0, or 32 where it did not work.")
    yield ".SH OPTIONS"
    yield from _flags_of("mount-helper")
    yield ".SS umount.bucketfs"
    yield from _flags_of("umount-helper")
    yield from _options()
    yield ".SH EXAMPLES"
    yield "A line of /etc/fstab; photos is a profile of /etc/bucketfs/config.toml:"
    yield from _verbatim("photos  /mnt/photos  bucketfs  _netdev,nofail,allow_other  0  0")
    yield from _see_also("bucketfs(1)", "bucketfs.toml(5)", "mount(8)", "fstab(5)")


def _file() -> Lines:
    yield from _head("bucketfs.toml", "5", "profiles of bucketfs")
    yield from (".SH DESCRIPTION", "A file of TOML. Each table is a profile, whose name stands")
    yield "for a URL wherever bucketfs takes one. A profile holds options of bucketfs(1) by their"
    yield "names: flags as true or false, numbers as such, anything else as a string."
    yield "A file that has secrets must be readable by its owner only (chmod 600)."
    yield ".SH KEYS"
    yield from _tagged(reference.PROFILE_KEYS)
    yield from _tagged(
        [(reference.in_profile(option), option.explanation) for option in OPTIONS],
    )
    yield from _order()
    yield ".SH EXAMPLES"
    yield from _verbatim(reference.EXAMPLE, is_first=True)
    yield from _files()
    yield from _see_also("bucketfs(1)", "mount.bucketfs(8)")


PAGES: Mapping[tuple[str, str], Callable[[], Lines]] = {
    ("bucketfs", "1"): _program,
    ("mount.bucketfs", "8"): _helper,
    ("bucketfs.toml", "5"): _file,
}
"""Name and section of each page, and what makes it."""
