"""Keys of a command or a file that a person named: what is run and read, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest
import trio

from bucketfs import logs
from bucketfs.errors import BucketfsError, ConfigurationError, KeysUnavailable
from bucketfs.transport.credential_command import CommandKeys
from bucketfs.transport.credential_file import FileKeys
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.given_credentials import given_credentials
from tests.unit.transport.waiting import until

SECRET = "s3cr3t/value-of-a-key"
TOKEN = "t0k3n/of-a-session"
KEYS = json.dumps({"AccessKeyId": "A", "SecretAccessKey": SECRET, "SessionToken": TOKEN})


def script(folder: Path, text: str) -> str:
    path = folder / "a command"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return f"'{path}' --now"


async def test_a_command_gives_keys(tmp_path: Path) -> None:
    command = script(tmp_path, f"test \"$1\" = --now && read x || echo '{KEYS}'")
    source = given_credentials(command, None)
    assert source is not None
    assert await source.get() == Credentials("A", SECRET, TOKEN)
    assert given_credentials(None, None) is None


async def test_what_a_command_says_is_in_the_log_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    logger = logging.getLogger(logs.LOGGER_NAME)
    monkeypatch.setattr(logger, "handlers", [])
    logs.configure(is_foreground=False, is_debug=True, log_file=file)
    try:
        said = rf"printf 'hello \033[2J\n{SECRET} {TOKEN}\n' >&2"
        await CommandKeys(script(tmp_path, f"{said}\necho '{KEYS}'"), "it").find()
    finally:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate, level = True, logging.NOTSET
        logger.setLevel(level)
    text = file.read_text()
    assert "it says: hello ?[2J" in text
    assert SECRET not in text
    assert TOKEN not in text


@pytest.mark.allows_warnings
@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (f"echo '{KEYS}'; exit 3", KeysUnavailable, "it failed with exit status 3"),
        (f"echo '{KEYS}' >&2", ConfigurationError, "it gave no valid keys"),
        (f"echo '{KEYS[:-2]}'", ConfigurationError, "it gave no valid keys"),
        (f"echo '{KEYS}'; exec >&2; sleep 60 & wait", KeysUnavailable, "end within 0.5 s"),
    ],
)
async def test_a_command_that_fails(
    tmp_path: Path, text: str, kind: type[BucketfsError], said: str
) -> None:
    began_s = time.monotonic()
    with pytest.raises(kind, match=said) as caught:
        await CommandKeys(script(tmp_path, text), "it", limit_s=0.5).find()
    assert time.monotonic() - began_s < 10
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [("/does/not/exist", "No such file"), ("'x", "quotes"), (" ", "cannot be run")],
)
async def test_a_command_that_is_none(command: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await CommandKeys(command, "it").find()


async def test_a_command_is_killed_with_what_it_started(tmp_path: Path) -> None:
    command = script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/pid; wait")
    with trio.move_on_after(0.5):
        await CommandKeys(command, "it").find()
    pid = int((tmp_path / "pid").read_text())

    async def is_gone() -> bool:
        try:
            return " Z " in await trio.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True

    await until(is_gone)


def keys_file(folder: Path, text: str = KEYS, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_a_file_gives_keys(tmp_path: Path) -> None:
    source = given_credentials(None, keys_file(tmp_path))
    assert source is not None
    found = await source.get()
    assert found == Credentials("A", SECRET, TOKEN)
    assert found.is_of_file
    keys_file(tmp_path, "[default]\nak = B\nsk = S\n")
    assert await source.replace(found, is_certain=True) == Credentials("B", "S")


async def test_a_profile_is_a_section_of_the_file(tmp_path: Path) -> None:
    path = keys_file(tmp_path, "[a]\nak = A\nsk = S\n[b]\nak = B\nsk = S\n")
    source = given_credentials(None, path, "b")
    assert source is not None
    assert (await source.get()).access_key == "B"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
async def test_a_file_that_others_may_read_is_refused_with_the_cure(
    tmp_path: Path, mode: int
) -> None:
    path = keys_file(tmp_path, mode=mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        await FileKeys(path).find()


@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o640, False), (0o660, True), (0o644, True), (0o600, False)]
)
async def test_a_file_of_root_may_be_for_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_refused: bool
) -> None:
    path = keys_file(tmp_path, mode=mode)
    if path.stat().st_uid != 0:
        pytest.skip("only root makes files of root")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if not is_refused:
        assert (await FileKeys(path).find()).access_key == "A"
        return
    with pytest.raises(ConfigurationError, match="chmod"):
        await FileKeys(path).find()


@pytest.mark.parametrize("text", ["", SECRET, f"[default]\nsk = {SECRET}\n", KEYS[:-2]])
async def test_a_malformed_file_shows_no_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await FileKeys(keys_file(tmp_path, text)).find()
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"


async def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        await FileKeys(tmp_path / "keys").find()
