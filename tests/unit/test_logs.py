"""Logging: where it goes, and that secrets do not go with it."""

from __future__ import annotations

import json
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketfs import logs

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    """Put the logger back as it was."""
    logger = logging.getLogger(logs.LOGGER_NAME)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    for handler in list(logger.handlers):
        if handler not in handlers:
            logger.removeHandler(handler)
            handler.close()
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.mark.parametrize(
    ("text", "kept", "hidden"),
    [
        ("GET /k?X-Amz-Signature=abcdef012345&x=1", "&x=1", "abcdef012345"),
        ("Authorization: AWS4-HMAC-SHA256 Signature=0123abcd", "AWS4", "0123abcd"),
        ("{'X-Amz-Security-Token': 'FQoGZXIvYXdz'}", "Token", "FQoGZXIvYXdz"),
        ("http://user:pass1234@host/p", "@host/p", "pass1234"),
        ("secret_access_key=abc123def", "secret_access_key=", "abc123def"),
        (f"bce-auth-v1/ak/2026-01-02T03:04:05Z/1800/host/{'0a' * 32} x", "host/", "0a" * 32),
        ("Authorization: Qiniu ak-1_2:abcDEF-_012=", "ak-1_2:", "abcDEF-_012"),
        ("UpToken ak:signed_0123=:cG9saWN5", "UpToken ak:", "signed_0123"),
        ("GET /k?e=1451491200&token=ak:signed-0123=", "token=ak:", "signed-0123"),
        ("q-ak=a&q-signature=bf56a78d0123", "q-ak=a", "bf56a78d0123"),
        ("x-cos-security-token: FQoGZXIvYXdz", "token", "FQoGZXIvYXdz"),
        (f"body {SECRET} end", "end", SECRET),
    ],
)
def test_secrets_are_hidden(text: str, kept: str, hidden: str) -> None:
    shown = logs.SecretMask([SECRET, "", "x"]).hide(text)
    assert hidden not in shown
    assert kept in shown


def test_ordinary_text_is_left_alone() -> None:
    text = "HEAD a/key=1 200 3ms request=17 etag=abc"
    assert logs.SecretMask(["", "short"]).hide(text) == text


def test_a_log_file_gets_the_log_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    target = tmp_path / "logs" / "b.log"
    logs.configure(is_foreground=False, log_file=target)
    log = logging.getLogger("bucketfs.transport")
    log.debug("not asked for")
    try:
        raise ValueError(f"key {SECRET}")
    except ValueError:
        log.info("failed with %s", SECRET, exc_info=True)
    text = target.read_text()
    assert "failed with ***" in text
    assert "ValueError: key ***" in text
    assert "not asked for" not in text
    assert SECRET not in text


def test_debug_shows_debug_and_a_new_setup_replaces_the_old_one(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    logs.configure(is_foreground=True, log_file=first)
    logs.configure(is_foreground=True, log_file=second, is_debug=True)
    logging.getLogger("bucketfs").debug("here")
    assert first.read_text() == ""
    assert "here" in second.read_text()


def test_a_daemon_without_syslog_logs_to_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", tmp_path / "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    logs.configure(is_foreground=False, name="/mnt/data")
    logging.getLogger("bucketfs").info("daemon")
    target = logs.default_log_file("/mnt/data")
    assert tmp_path in target.parents
    assert "daemon" in target.read_text()
    assert target != logs.default_log_file("/srv/data")


def test_secrets_that_come_later_are_hidden_too(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logs.configure(is_foreground=False, log_file=file)
    for number in range(200):
        logs.hide_secrets(f"secret-{number:04}", None, "")
    logging.getLogger("bucketfs.x").info("secret-0199 and secret-0150 in a text")
    assert file.read_text().endswith("*** and *** in a text\n")


def configured(file: Path, log_format: str = "text") -> logging.Logger:
    logs.configure(is_foreground=False, log_file=file, name="/mnt/a", log_format=log_format)
    return logging.getLogger("bucketfs.test")


class RefusedError(Exception):
    """An error of the store, as far as the log is concerned."""

    request_id = "REQ-17"


def test_a_traceback_is_one_line_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    log = configured(tmp_path / "log", "json")
    log.info("two\nlines with %s", SECRET)
    try:
        raise RefusedError(SECRET)
    except RefusedError:
        log.exception("it failed")
    log.warning("refused: %s", RefusedError("no"))
    first, second, third = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert first.keys() == {"time", "level", "logger", "mount", "message"}
    assert (first["level"], first["mount"]) == ("info", "/mnt/a")
    assert first["message"] == "two\nlines with ***"
    assert first["time"].endswith("Z")
    assert "RefusedError: ***" in second["exception"]
    assert second["request_id"] == third["request_id"] == "REQ-17"


def test_a_file_that_others_renamed_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = configured(file)
    log.info("first")
    file.rename(tmp_path / "log.old")
    log.info("second")
    file.unlink()
    log.info("third")
    assert "first" in (tmp_path / "log.old").read_text()
    assert "second" not in (tmp_path / "log.old").read_text()
    assert file.read_text().count("\n") == 1
    assert "third" in file.read_text()


def test_a_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_FILE_BYTES", 1000)
    log = configured(tmp_path / "log")
    for number in range(200):
        log.info("line %d", number)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"log", "log.1", "log.2", "log.3"}
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 199" in (tmp_path / "log").read_text()


def test_the_last_lines_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RECENT_LINES", 3)
    log = configured(tmp_path / "log")
    for number in range(5):
        log.warning("line %d", number)
    state = logs.state(after=4)
    assert (state["kind"], state["path"]) == ("file", str(tmp_path / "log"))
    assert (state["seen"], state["warnings"], state["level"]) == (5, 5, "info")
    assert [line.rpartition(": ")[2] for line in state["lines"]] == ["line 4"]
    assert len(logs.state()["lines"]) == 3
    assert logs.state(after=5)["lines"] == []


def test_the_level_can_be_changed(tmp_path: Path) -> None:
    log = configured(tmp_path / "log")
    log.debug("not yet")
    logs.set_level("debug")
    log.debug("now")
    with pytest.raises(ValueError, match="loud"):
        logs.set_level("loud")
    text = (tmp_path / "log").read_text()
    assert "not yet" not in text
    assert "now" in text


def test_all_that_is_shown_passes_one_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = configured(tmp_path / "log", "json")
    logs.hide_secrets("of-a-profile-0", is_lasting=True)
    monkeypatch.setenv("BUCKETFS_SECRET_KEY", "of-the-environment")
    for number in range(200):
        logs.hide_secrets(f"exchanged-{number:04}")
    text = "of-a-profile-0 of-the-environment exchanged-0199"
    assert logs.mask().hide(text) == "*** *** ***"
    log.info(text)
    assert json.loads((tmp_path / "log").read_text())["message"] == "*** *** ***"
    assert [line.endswith(": *** *** ***") for line in logs.state()["lines"]] == [True]
