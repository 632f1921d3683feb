"""The questions of `bucketfs configure`, one after the other; a wrong answer is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from bucketfs.cli import profiles
from bucketfs.cli.profiles import SECRET_KEYS, Profile
from bucketfs.cli.resolving import resolve_profile
from bucketfs.errors import ConfigurationError
from bucketfs.settings import OPTION_SCHEMES, SCHEMES, scheme_of
from bucketfs.storage.location import KEY_VARIABLES

_KINDS: Mapping[str, str] = {
    scheme_of(form): f"{meaning}"
    for form, meaning in SCHEMES.items()
    if scheme_of(form) != "memory"
}
_BUCKETS: Mapping[str, str] = {
    "s3": "Bucket, perhaps with /prefix",
    "cos": "Bucket with its appid (name-1250000000), perhaps with /prefix",
    "bos": "Bucket, perhaps with /prefix",
    "kodo": "Bucket, perhaps with /prefix",
    "libcloud": "PROVIDER://container",
    "file": "Folder (absolute)",
}
_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "s3": (
        ("endpoint", "Endpoint, https://host (empty: Amazon's)"),
        ("region", "Region (empty: as the environment or the AWS files say)"),
    ),
    "cos": (("region", "Region (ap-guangzhou, ...)"),),
    "bos": (("region", "Region (empty: bj)"),),
    "kodo": (("domain", "Domain that downloads come from (empty: Qiniu's for tests)"),),
    "libcloud": (),
    "file": (),
}
_FLAGS = (
    ("ro", "Read-only?"),
    ("writeback", "Let close() wait for this machine's disk only (writeback)?"),
    ("allow_other", "Let other users of this machine in (allow_other)?"),
)


def ask(question: str, default: str = "", *, is_hidden: bool = False) -> str:
    """Return an answer, the default where it is empty. Raises: typer.Abort (interrupted)."""
    shown = f" [{default}]" if default and not is_hidden else ""
    answer: str = typer.prompt(
        f"{question}{shown}",
        default=default,
        show_default=False,
        hide_input=is_hidden,
        err=True,
    )
    return answer.strip()


def ask_until(question: str, check: Callable[[str], object], default: str = "") -> str:
    """Ask until `check` raises no ConfigurationError."""
    while True:
        answer = ask(question, default)
        try:
            check(answer)
        except ConfigurationError as exc:
            typer.echo(f"  {exc}", err=True)
        else:
            return answer


class Interview:
    """The questions of one profile; what it had before is what an empty answer means."""

    def __init__(self, before: Profile) -> None:
        self._profile = before
        self._table = dict(before.table)

    @staticmethod
    def name() -> str:
        """Ask for the name of a profile."""
        return ask_until("Name of the profile", profiles.check_name)

    def run(self) -> dict[str, object]:
        """Return the table of the profile. Raises: typer.Abort."""
        kind = self._ask_url()
        for key, question in _PLACES[kind]:
            self._ask_option(key, question)
        if kind in KEY_VARIABLES:
            self._ask_keys(kind)
        self._ask_option("mountpoint", "Mount point (empty: said at each mount)")
        if kind in OPTION_SCHEMES["read_cache"]:
            self._ask_option("read_cache", "Disk for what was read, like 10G (empty: none)")
        for key, question in _FLAGS:
            self._ask_flag(key, question)
        return self._table

    def _ask_url(self) -> str:
        """Ask what is to be mounted; return the kind of bucket."""
        before = str(self._table.get("url", ""))
        typer.echo("Kinds of storage:", err=True)
        for kind, meaning in _KINDS.items():
            typer.echo(f"  {kind:<10}{meaning}", err=True)
        kind = ask_until("Kind", _check_kind, scheme_of(before) if before else "s3")
        is_same = bool(before) and scheme_of(before) == kind
        rest = before.partition("://")[2] if is_same and kind != "libcloud" else ""
        if is_same and kind == "libcloud":
            rest = before.removeprefix("libcloud+")
        answer = ask_until(
            _BUCKETS[kind], lambda text: self._checked("url", url_of(kind, text)), rest
        )
        self._table["url"] = url_of(kind, answer)
        if not is_same:
            for key in ("endpoint", "region", "domain", "storage_class", *SECRET_KEYS):
                self._table.pop(key, None)
        return kind

    def _ask_option(self, key: str, question: str) -> None:
        before = str(self._table.get(key, ""))
        answer = ask_until(question, lambda text: self._checked(key, text), before)
        self._put(key, answer)

    def _ask_flag(self, key: str, question: str) -> None:
        before = self._table.get(key) is True
        if typer.confirm(question, default=before, err=True):
            self._table[key] = True
        elif key in self._table:
            self._table[key] = False

    def _ask_keys(self, kind: str) -> None:
        """Ask for keys; what is typed of secrets is not shown."""
        has_keys = "access_key" in self._table
        left = "empty: as they are" if has_keys else "empty: environment or the cloud's own files"
        access_key = ask(f"Access key id ({left})")
        if not access_key:
            return
        for key in SECRET_KEYS:
            self._table.pop(key, None)
        secret_key = ""
        while not secret_key:
            secret_key = ask("Secret key (not shown)", is_hidden=True)
        self._table |= {"access_key": access_key, "secret_key": secret_key}
        if len(KEY_VARIABLES[kind][0]) >= len(SECRET_KEYS):
            token = ask("Session token (not shown; empty: none)", is_hidden=True)
            self._put("session_token", token)

    def _put(self, key: str, answer: str) -> None:
        if answer:
            self._table[key] = answer
        else:
            self._table.pop(key, None)

    def _checked(self, key: str, text: str) -> None:
        """Make sure that the profile may have this. Raises: ConfigurationError."""
        if not text:
            return
        url = self._table.get("url")
        table = {"url": url, key: text} if key != "url" else {"url": text}
        old = self._profile
        resolve_profile(Profile(old.name, old.file, table, {}), has_environment=False).settings()


def url_of(kind: str, answer: str) -> str:
    """Return the URL that a kind of storage and the name of a bucket make."""
    if kind == "libcloud":
        return f"libcloud+{answer}"
    return answer if answer.startswith(f"{kind}://") else f"{kind}://{answer}"


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ConfigurationError(f"it is one of {', '.join(_KINDS)}")
