"""Conflicts: others changed the object while a file was being written here. What then?

`fail`: the save is refused and the bytes stay here. `copy`: they are stored beside it under a name
that says so, and whoever saves is told once. `overwrite`: the last writer wins.
"""

from __future__ import annotations

import re
import time

from bucketfs.namespace import keys

FAIL, COPY, OVERWRITE = "fail", "copy", "overwrite"

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


def conflict_name(name: str, host: str, now_ns: int) -> str:
    """Return `NAME.conflict-HOST-TIME`, the name cut where all of it would be too long. Pure.

    TIME is UTC to the microsecond, so that no two conflicts of a host have one name.
    """
    seconds, rest = divmod(now_ns, 10**9)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    suffix = f".conflict-{_UNFIT.sub('-', host)[:64]}-{moment}.{rest // 1000:06d}Z"
    room = keys.NAME_MAX_BYTES - len(suffix)
    while keys.encoded_length(name) > room:
        name = name[:-1]
    return name + suffix
