"""Logging set-up (leaf): where a mount's log goes, and that no secret gets into it.

In the foreground it goes to standard error; a daemon writes to `log_file`, else to syslog, else to
a file in the user's log folder. Every text that leaves passes `SecretMask`.
"""

from __future__ import annotations

import hashlib
import logging
import logging.handlers
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import platformdirs

LOGGER_NAME = "bucketfs"
SYSLOG_SOCKET = Path("/dev/log")
SECRET_VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "BCE_SECRET_ACCESS_KEY", "BCE_SESSION_TOKEN"),
    *("COS_SECRET_KEY", "COS_TOKEN", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_SESSION_TOKEN"),
    *("TENCENTCLOUD_TOKEN", "QINIU_SECRET_KEY", "LIBCLOUD_SECRET"),
)
_LOG_FILE_BYTES = 10 << 20
_LOG_FILES_KEPT = 3
_SECRETS_KEPT = 64
"""Of those that were learned: keys that are exchanged every few minutes are old after hours."""
_HIDDEN = "***"
_PATTERNS = (
    re.compile(r"(?i)(\bsignature[=:]\s*)[0-9A-Za-z%+/=]+"),
    re.compile(
        r"(?i)(x-(?:amz|cos|bce)-(?:security-token|signature)['\"]?[=:]\s*['\"]?)[^\s&'\"]+"
    ),
    re.compile(
        r"(?i)((?:secret_?(?:access_?)?key|session_?token|password)['\"]?[=:]\s*['\"]?)[^\s&,'\"]+"
    ),
    re.compile(r"(bce-auth-v1(?:/|%2F)[\w.:/%-]+(?:/|%2F))[0-9a-f]{64}"),
    re.compile(r"(\b(?:QBox|Qiniu|UpToken) [\w-]+:)[\w=:-]+"),
    re.compile(r"([?&]token=[\w-]+:)[\w=-]+"),
    re.compile(r"(://)[^/\s@]+:[^/\s@]+(?=@)"),
)


class SecretMask:
    """Hides signatures, tokens and known secret values in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Short values (an empty variable, "x") would tear harmless texts apart.
        self._secrets = sorted({text for text in secrets if len(text) >= 8}, key=len, reverse=True)
        self._learned: deque[str] = deque(maxlen=_SECRETS_KEPT)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these, too; of very many the last ones."""
        for text in secrets:
            if len(text) >= 8 and text not in self._learned:
                self._learned.append(text)

    def hide(self, text: str) -> str:
        """Return `text` without what must not be seen."""
        for secret in (*self._secrets, *tuple(self._learned)):
            text = text.replace(secret, _HIDDEN)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{_HIDDEN}", text)
        return text


class MaskingFormatter(logging.Formatter):
    """Formats a record with its traceback, then hides the secrets in all of it."""

    def __init__(self, layout: str, mask: SecretMask) -> None:
        super().__init__(layout)
        self._mask = mask

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these, too."""
        self._mask.learn(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of the record as it may be seen."""
        return self._mask.hide(super().format(record))


def configure(
    *,
    is_foreground: bool,
    is_debug: bool = False,
    log_file: Path | None = None,
    name: str = "mount",
) -> None:
    """Send what the logger `bucketfs` says to where this process's log goes.

    `name` tells mounts apart where several share a log folder. Replaces an earlier set-up.
    Raises: OSError where `log_file` cannot be written.
    """
    mask = SecretMask(os.environ.get(variable, "") for variable in SECRET_VARIABLES)
    handler, layout = _destination(is_foreground, log_file, name)
    handler.setFormatter(MaskingFormatter(layout, mask))
    logger = logging.getLogger(LOGGER_NAME)
    for former in list(logger.handlers):
        logger.removeHandler(former)
        former.close()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if is_debug else logging.INFO)
    logger.propagate = False


def hide_secrets(*secrets: str | None) -> None:
    """Let the log, where it was configured, never show these."""
    for handler in logging.getLogger(LOGGER_NAME).handlers:
        if isinstance(handler.formatter, MaskingFormatter):
            handler.formatter.learn(secret for secret in secrets if secret)


def default_log_file(name: str) -> Path:
    """Return the log file of the mount `name` where there is no syslog."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return platformdirs.user_log_path("bucketfs") / f"{Path(name).name or 'root'}-{digest}.log"


def _destination(
    is_foreground: bool, log_file: Path | None, name: str
) -> tuple[logging.Handler, str]:
    timed = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if log_file is None and is_foreground:
        return logging.StreamHandler(sys.stderr), timed
    if log_file is None and SYSLOG_SOCKET.exists():
        try:
            syslog = logging.handlers.SysLogHandler(os.fspath(SYSLOG_SOCKET), "daemon")
        except OSError:
            # No daemon listens (a container): the file below is the log then.
            pass
        else:
            syslog.ident = f"bucketfs[{os.getpid()}]: "
            return syslog, "%(levelname)s %(name)s: %(message)s"
    target = log_file or default_log_file(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    file_handler = logging.handlers.RotatingFileHandler(
        target, maxBytes=_LOG_FILE_BYTES, backupCount=_LOG_FILES_KEPT, encoding="utf-8"
    )
    return file_handler, timed
