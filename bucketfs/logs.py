"""Logging set-up (leaf): where a mount's log goes, and that no secret gets into it.

In the foreground it goes to standard error; a daemon writes to `log_file`, else to syslog, else to
a file in the user's log folder. Every text that leaves passes `SecretMask`. The last lines are in
memory as well, so that they can be asked for wherever the log goes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import logging.handlers
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import platformdirs

LOGGER_NAME = "bucketfs"
SYSLOG_SOCKET = Path("/dev/log")
SECRET_VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "BCE_SECRET_ACCESS_KEY", "BCE_SESSION_TOKEN"),
    *("COS_SECRET_KEY", "COS_TOKEN", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_SESSION_TOKEN"),
    *("TENCENTCLOUD_TOKEN", "QINIU_SECRET_KEY", "LIBCLOUD_SECRET"),
    *("BUCKETFS_SECRET_KEY", "BUCKETFS_SESSION_TOKEN"),
)
FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
LOG_FILE_BYTES = 10 << 20
LOG_FILES_KEPT = 3
_SECRETS_KEPT = 64
"""Of those that were learned: keys that are exchanged every few minutes are old after hours."""
RECENT_LINES = 500
"""So many lines are kept in memory, some 100 KB."""
_TIMED = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_HIDDEN = "***"
_LEAST_LENGTH = 8
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
        self._lasting: tuple[str, ...] = ()
        self._learned: deque[str] = deque(maxlen=_SECRETS_KEPT)
        self.keep(secrets)

    def keep(self, secrets: Iterable[str]) -> None:
        """Hide these, too, for ever."""
        # Short values (an empty variable, "x") would tear harmless texts apart.
        known = {*self._lasting, *(text for text in secrets if len(text) >= _LEAST_LENGTH)}
        self._lasting = tuple(sorted(known, key=len, reverse=True))

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these, too; of very many the last ones."""
        for text in secrets:
            if len(text) >= _LEAST_LENGTH and text not in self._learned:
                self._learned.append(text)

    def hide(self, text: str) -> str:
        """Return `text` without what must not be seen."""
        for secret in (*self._lasting, *tuple(self._learned)):
            text = text.replace(secret, _HIDDEN)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{_HIDDEN}", text)
        return text


_MASK = SecretMask()


def mask() -> SecretMask:
    """Return the one mask of this process, which knows the secrets of the environment of now.

    And those that `hide_secrets` was told of. What is shown to anybody passes it: the log, the
    answers of the control socket, what `doctor` and `config show` print.
    """
    _MASK.keep(os.environ.get(variable, "") for variable in SECRET_VARIABLES)
    return _MASK


def hide_secrets(*secrets: str | None, is_lasting: bool = False) -> None:
    """Let nothing of this process ever show these.

    `is_lasting`: keys that do not change while the process lives; of others the last ones count.
    """
    known = [secret for secret in secrets if secret]
    if is_lasting:
        _MASK.keep(known)
    else:
        _MASK.learn(known)


class MaskingFormatter(logging.Formatter):
    """Formats a record with its traceback, then hides the secrets in all of it."""

    def __init__(self, layout: str, mask: SecretMask) -> None:
        super().__init__(layout)
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of the record as it may be seen."""
        return self._mask.hide(super().format(record))


class JsonFormatter(logging.Formatter):
    """Makes each record one line of JSON, of which the secrets are hidden.

    It has time (ISO 8601, UTC), level, logger, mount and message; request_id where the record is
    about an error of the store that has one, and exception where there is a traceback.
    """

    def __init__(self, mount: str, mask: SecretMask) -> None:
        super().__init__()
        self._mount = mount
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC)
        found = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "mount": self._mount,
            "request_id": _request_id_of(record),
            "message": self._mask.hide(record.getMessage()),
        }
        if record.exc_info:
            found["exception"] = self._mask.hide(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in found.items() if value is not None})


def _request_id_of(record: logging.LogRecord) -> str | None:
    arguments = record.args if isinstance(record.args, tuple) else ()
    caught = record.exc_info[1] if record.exc_info else None
    found = (getattr(each, "request_id", None) for each in (*arguments, caught))
    return next((text for text in found if isinstance(text, str)), None)


class LogFile(logging.handlers.RotatingFileHandler):
    """A file that is renamed when it is large, and opened anew when others have renamed it.

    So logrotate(8) needs no signal, and of two mounts that share a file each goes on in the new one
    when the other has renamed it. A full disk loses lines, never the mount.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=LOG_FILE_BYTES, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the file that has the name now."""
        try:
            if self.stream is not None and not _has_name(self.stream, self.baseFilename):
                self.stream.close()
                self.stream = self._open()
        except OSError:
            self.handleError(record)
            return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the line be lost: a daemon has nobody to tell."""


def _has_name(stream: IO[str], path: str) -> bool:
    try:
        named, opened = os.stat(path), os.fstat(stream.fileno())
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


class Recent(logging.Handler):
    """The last lines of the log, whoever else gets them, and how many warnings there were."""

    def __init__(self, formatter: logging.Formatter, destination: dict[str, str | None]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.destination = destination
        self.seen = 0
        """Lines so far: the number of the last one."""
        self.warnings = 0
        self.errors = 0
        self._lines: deque[str] = deque(maxlen=RECENT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(self.format(record))
        self.seen += 1
        self.warnings += record.levelno == logging.WARNING
        self.errors += record.levelno >= logging.ERROR

    def after(self, number: int) -> list[str]:
        """Return the lines after the one of that number, as far as they are kept."""
        self.acquire()
        try:
            lines = list(self._lines)
        finally:
            self.release()
        return lines[max(0, len(lines) - max(0, self.seen - number)) :]


def state(after: int = 0) -> dict[str, Any]:
    """Return where the log goes, its level, and its last lines after line `after`."""
    logger = logging.getLogger(LOGGER_NAME)
    found: dict[str, Any] = {"level": logging.getLevelName(logger.level).lower()}
    for handler in logger.handlers:
        if isinstance(handler, Recent):
            found.update(handler.destination)
            found.update(warnings=handler.warnings, errors=handler.errors, seen=handler.seen)
            found["lines"] = handler.after(after)
    return found


def set_level(level: str) -> None:
    """Log from that level on. Raises: ValueError (it is none of `LEVELS`)."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level: it is one of {', '.join(LEVELS)}")
    logger = logging.getLogger(LOGGER_NAME)
    logger.setLevel(level.upper())
    logger.log(logging.INFO, "the log is of level %s from now on", level)


def configure(
    *,
    is_foreground: bool,
    is_debug: bool = False,
    log_file: Path | None = None,
    name: str = "mount",
    log_format: str = "text",
) -> None:
    """Send what the logger `bucketfs` says to where this process's log goes.

    `name` tells mounts apart where several share a log folder; `log_format` is one of `FORMATS`.
    Replaces an earlier set-up. Raises: OSError where `log_file` cannot be written.
    """
    handler, layout = _destination(is_foreground, log_file, name)
    recent = Recent(MaskingFormatter(_TIMED, mask()), _described(handler))
    if log_format == "json":
        handler.setFormatter(JsonFormatter(name, mask()))
    else:
        handler.setFormatter(MaskingFormatter(layout, mask()))
    logger = logging.getLogger(LOGGER_NAME)
    for former in list(logger.handlers):
        logger.removeHandler(former)
        former.close()
    logger.addHandler(handler)
    logger.addHandler(recent)
    logger.setLevel(logging.DEBUG if is_debug else logging.INFO)
    logger.propagate = False


def default_log_file(name: str) -> Path:
    """Return the log file of the mount `name` where there is no syslog."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return platformdirs.user_log_path("bucketfs") / f"{Path(name).name or 'root'}-{digest}.log"


def _destination(
    is_foreground: bool, log_file: Path | None, name: str
) -> tuple[logging.Handler, str]:
    if log_file is None and is_foreground:
        return logging.StreamHandler(sys.stderr), _TIMED
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
    return LogFile(target), _TIMED


def _described(handler: logging.Handler) -> dict[str, str | None]:
    """Return where a handler writes: `kind` file, syslog or stderr, and the file's `path`."""
    if isinstance(handler, LogFile):
        return {"kind": "file", "path": handler.baseFilename}
    is_syslog = isinstance(handler, logging.handlers.SysLogHandler)
    return {"kind": "syslog" if is_syslog else "stderr", "path": None}
