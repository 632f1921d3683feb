"""The program as a tree of commands, and what several of them have in common.

The commands themselves are in the `commands_*` modules; each registers itself with `app`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs import __version__
from bucketfs.cli import completing


def untouched(text: str) -> Path:
    """Return a path that nobody has looked at, for `parser=` of an argument.

    Of a `Path` typer asks the file system by itself: at a mount that hangs it would hang as well.
    """
    return Path(text)


Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="OPT,OPT=VALUE,...",
        help="Options, as of mount.",
        autocompletion=completing.options,
    ),
]
Source = Annotated[str, typer.Argument(metavar="URL|PROFILE", autocompletion=completing.sources)]
Mountpoint = Annotated[
    Path,
    typer.Argument(metavar="MOUNTPOINT", parser=untouched, autocompletion=completing.mountpoints),
]
"""Where something is mounted."""
PathOnMount = Annotated[Path, typer.Argument(metavar="PATH", parser=untouched)]
PathsOnMounts = Annotated[list[Path], typer.Argument(metavar="PATH...", parser=untouched)]
"""Mount points, or what is below them."""


app = typer.Typer(
    name="bucketfs",
    help="Mount an object storage bucket as a directory. One file is one object.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"bucketfs {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show it."),
    ] = False,
) -> None:
    """Mount an object storage bucket as a directory. One file is one object."""
