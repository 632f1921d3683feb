"""Crawlers: programs that read whatever they find, and would run up a bill that nobody wanted.

They are known by the name of their process, which anybody may choose: a guard against accidents,
not against people.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from bucketfs.counting.causes import Cause
from bucketfs.counting.programs import Programs
from bucketfs.errors import CallerRefused

log = logging.getLogger(__name__)

Mode = Literal["allow", "cached", "refuse"]

_NAME_BYTES = 15
"""What the kernel keeps of a name (TASK_COMM_LEN less the NUL)."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "locate": ("updatedb", "updatedb.mlocate", "updatedb.plocate"),
    "GNOME": ("tracker-miner-fs", "tracker-extract", "localsearch-3", "localsearch-extractor-3"),
    "KDE": ("baloo_file", "baloo_file_extractor"),
    "Recoll": ("recollindex",),
    "ClamAV": ("clamd", "clamscan", "clamdscan", "clamonacc"),
}
"""Names of programs that index or scan, by what they belong to."""

BELIEVED_S = 1.0
"""How long a process that opens things is no crawler without another look (5 microseconds)."""
_MOST_BELIEVED = 1024


def known_names() -> list[str]:
    """Return the names of `KNOWN`."""
    return [name for names in KNOWN.values() for name in names]


class Crawlers:
    """Who is a crawler, and what one may do; an `causes.Admission`.

    "refuse": nothing is opened for it. "cached": it may read what is known here. In both it causes
    no request, and opens nothing for writing.
    """

    def __init__(self, programs: Programs, mode: Mode, also: Iterable[str] = ()) -> None:
        self._programs = programs
        self.mode = mode
        names = [*known_names(), *also]
        self._names = {name.encode()[:_NAME_BYTES].decode("utf-8", "ignore") for name in names}
        self._innocent_until_s: dict[int, float] = {}
        self._refused: Counter[str] = Counter()

    def admits(self, cause: Cause) -> bool:
        """Return whether a request may be made for `cause`; the first refusal of each is logged."""
        program = self._programs.of(cause)
        if program.kind != "program" or program.name not in self._names:
            return True
        self._note(program.name)
        return False

    def check_open(self, pid: int, *, is_writer: bool = False) -> None:
        """Let a process open something. Raises: CallerRefused."""
        name = self._crawler(pid)
        if name is not None and (is_writer or self.mode == "refuse"):
            self._note(name)
            raise CallerRefused(f"{name} opens nothing here (crawlers={self.mode})")

    def report(self) -> dict[str, object]:
        """Return the mode, and how often each crawler was refused something."""
        return {"mode": self.mode, "refused": dict(self._refused)}

    def _crawler(self, pid: int) -> str | None:
        """Return the name of a crawler, None for any other process."""
        now_s = time.monotonic()
        if now_s < self._innocent_until_s.get(pid, 0.0):
            return None
        name = self._programs.name_of(pid)
        if name in self._names:
            return name  # not remembered: its number may soon be that of another process
        self._innocent_until_s.pop(pid, None)
        if len(self._innocent_until_s) >= _MOST_BELIEVED:
            del self._innocent_until_s[next(iter(self._innocent_until_s))]
        self._innocent_until_s[pid] = now_s + BELIEVED_S
        return None

    def _note(self, name: str) -> None:
        if name not in self._refused:
            log.warning(
                "%s is a crawler and causes no requests here: it gets EACCES (crawlers=%s; "
                "crawlers=allow lets it in)",
                name,
                self.mode,
            )
        self._refused[name] += 1
