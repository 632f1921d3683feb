"""Commands about settings: config, configure, man."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bucketfs.cli import completing
from bucketfs.cli.app import Debug, Options, app

config = typer.Typer(
    help="Show and check settings and profiles.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(config, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@config.command()
def show(
    source: Annotated[
        str | None, typer.Argument(metavar="PROFILE|URL", autocompletion=completing.sources)
    ] = None,
    options: Options = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a mount of PROFILE would have, and where each setting comes from.

    The command line (-o) goes before the environment (BUCKETFS_...), that before the profile, that
    before the defaults of its file. Secrets are masked. Without a terminal a line each, tabs
    between: setting, value (empty: the cloud or this machine decides), where it comes from.
    """
    from bucketfs.cli.showing_settings import show_settings

    raise typer.Exit(show_settings(source, options or [], is_json=as_json))


@config.command(name="list")
def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List the profiles: name, URL, mount point, file; without a terminal tabs between."""
    from bucketfs.cli.showing_settings import list_profiles

    raise typer.Exit(list_profiles(is_json=as_json))


@config.command()
def path(debug: Debug = False) -> None:
    """Print where the file of profiles is, or would be made by `bucketfs configure`."""
    from bucketfs.cli.profiles import places

    typer.echo(places()[0])


@config.command()
def check(
    profile: Annotated[
        str | None, typer.Argument(metavar="PROFILE", autocompletion=completing.profile_names)
    ] = None,
    debug: Debug = False,
) -> None:
    """Look for mistakes in the profiles and in BUCKETFS_ variables, without asking any bucket.

    Each is a line on standard error with file, profile and key; the exit status is 1 then.
    """
    from bucketfs.cli.showing_settings import check_profiles

    raise typer.Exit(check_profiles(profile))


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of mount, or mountpoint; without VALUE it is taken out. May repeat.",
        autocompletion=completing.set_keys,
    ),
]
Keys = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="stdin|env",
        help="Where secrets come from: lines of standard input (access key, secret key, "
        "session token), or BUCKETFS_ACCESS_KEY, _SECRET_KEY and _SESSION_TOKEN.",
    ),
]


@app.command()
def configure(
    profile: Annotated[
        str | None, typer.Argument(metavar="PROFILE", autocompletion=completing.profile_names)
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="What to mount; ask nothing.")
    ] = None,
    sets: Sets = None,
    keys: Keys = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Change a profile that is there without asking.")
    ] = False,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Do not try it before it is written.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make or change a profile: asks step by step, tries it, and writes the file of profiles.

    With --url, --set or --keys nothing is asked (for scripts). The bucket is tried as by
    `bucketfs probe`, and what works is said. Only you can read the file afterwards (mode 0600);
    other profiles and comments in it stay. Ctrl-C changes nothing. BUCKETFS_CONFIG names another
    file than your own, for instance /etc/bucketfs/config.toml.
    """
    from bucketfs.cli.configuring import Wishes
    from bucketfs.cli.configuring import configure as configure_profile

    wishes = Wishes(url, tuple(sets or ()), keys, is_sure=yes, is_tried=not no_probe)
    raise typer.Exit(configure_profile(profile, wishes))


@app.command()
def man(
    name: Annotated[str, typer.Argument(metavar="NAME")] = "bucketfs",
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Write every page below DIR (man1, man5 ...)"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Print a manual page as roff: bucketfs (1), mount.bucketfs (8) or bucketfs.toml (5).

    \b
      bucketfs man | man -l -                            read it
      bucketfs man --output ~/.local/share/man           install all for oneself
      sudo bucketfs man --output /usr/local/share/man    for everybody
    """
    from bucketfs.cli.manpages import page, write_pages

    if output is None:
        typer.echo(page(name), nl=False)
        return
    for file in write_pages(output):
        typer.echo(file)
