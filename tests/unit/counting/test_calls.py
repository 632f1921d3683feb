"""Requests of the kernel: counts, errors, and what was answered without waiting."""

from __future__ import annotations

from bucketfs.counting.calls import Calls


def test_what_waited_is_no_hit() -> None:
    calls = Calls()
    calls.done("read", 0.001, 100, True, False)
    calls.done("read", 0.002, 20, False, False)
    calls.done("lookup", 0.002, 0, False, True)
    report = calls.report()
    read, lookup = report["read"], report["lookup"]
    assert list(report) == ["lookup", "read"]
    assert (read["requests"], read["errors"], read["hits"]) == (2, 0, 1)
    assert (read["bytes"], read["hit_bytes"], read["latency_s"]["max"]) == (120, 20, 0.002)
    # That there is no such name may be known here, too.
    assert (lookup["requests"], lookup["errors"], lookup["hits"]) == (1, 1, 1)
