"""Logging: where it goes, and that secrets do not go with it."""

from __future__ import annotations

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
