"""The probe tells the truth of every store, and leaves nothing in it."""

from __future__ import annotations

from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.prefixed import Prefixed
from bucketfs.storage.probing import CLOCK_TOLERANCE_S, probe


async def test_every_right_is_seen_and_nothing_is_left(store: ObjectStore, root: str) -> None:
    below = Prefixed(store, root)
    findings = await probe(below)
    assert [(right.name, right.verdict) for right in findings.rights] == [
        (name, "yes") for name in ("list", "write", "read", "delete")
    ]
    assert findings.missing() == []
    assert findings.left_key is None
    assert findings.skew_s is not None
    assert abs(findings.skew_s) < CLOCK_TOLERANCE_S
    assert (await below.list_page("")).objects == []
