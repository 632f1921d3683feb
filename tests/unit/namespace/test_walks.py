"""Which orders of opened directories are walks, and what a walk may cost in vain."""

from __future__ import annotations

import pytest

from bucketfs.namespace.listings import Directory, Entry
from bucketfs.namespace.walks import MAX_REMEMBERED, PAGE, RECENT_S, TOLERANCE, Budget, Walks


def listed(*names: str) -> Directory:
    """Return a directory with these entries; those that end with a slash are directories."""
    directory = Directory()
    entries = [Entry(name.rstrip("/"), name.endswith("/"), None, None, 1e9) for name in names]
    directory.replace_all({entry.name: entry for entry in entries}, 1e9)
    return directory


FEW = listed("a", "b/", "c", "d/", "e/")


def roots(parent: Directory | None, *opened: str) -> list[str | None]:
    """Open directories, a second after each other; return the roots of the walks that go on."""
    walks = Walks()
    return [
        walks.opened(prefix, parent if prefix else None, float(second))
        for second, prefix in enumerate(opened)
    ]


def test_a_directory_and_its_first_directory() -> None:
    assert roots(FEW, "", "b/") == [None, ""]
    assert roots(FEW, "", "d/") == [None, None]
    assert roots(None, "", "b/") == [None, None]


def test_siblings_in_order() -> None:
    assert roots(FEW, "b/", "d/", "e/") == [None, "", ""]
    assert roots(None, "b/", "d/", "a/") == [None, "", None]
    assert roots(FEW, "b/", "b/") == [None, None]


def test_many_threads_may_overtake_each_other_but_a_jump_is_no_walk() -> None:
    many = listed(*(f"d{number:03}/" for number in range(500)))
    assert roots(many, "d100/", f"d{100 + TOLERANCE}/", "d103/") == [None, "", ""]
    assert roots(many, "d100/", "d300/") == [None, None]


def test_files_between_directories_do_not_count() -> None:
    many = listed("d/", *(f"f{number:03}" for number in range(500)), "g/", "h/")
    assert roots(many, "d/", "g/") == [None, ""]
    assert roots(many, "d/", "h/") == [None, None]


def test_long_ago_is_another_walk() -> None:
    walks = Walks()
    walks.opened("", None, 0.0)
    assert walks.opened("b/", FEW, RECENT_S + 1) is None
    assert walks.opened("d/", FEW, 2 * RECENT_S + 2) is None


def test_little_is_remembered() -> None:
    walks = Walks()
    for number in range(3 * MAX_REMEMBERED):
        walks.opened(f"p{number}/d/", None, 0.0)
    assert len(walks._opened) == len(walks._entered) == MAX_REMEMBERED


@pytest.mark.parametrize("served", [0, 3, 50])
def test_as_many_pages_in_vain_as_were_of_use_and_the_allowance(served: int) -> None:
    budget = Budget(2)
    for _ in range(served):
        budget.served(1, is_last=True)
    pages = 0
    while budget.may_ask():
        budget.asked()
        pages += 1
    assert pages == 2 + served


def test_a_large_directory_earns_what_its_own_listing_would_cost() -> None:
    budget = Budget(1)
    for _ in range(10):
        assert budget.may_ask()
        budget.asked()
        budget.served(PAGE, is_last=False)
    assert budget.may_ask()


def test_a_walk_that_goes_on_without_sweeps_may_try_again_now_and_then() -> None:
    budget = Budget(1)
    budget.asked()
    tries = 0
    for _ in range(80):
        budget.missed()
        if budget.may_ask():
            budget.asked()
            tries += 1
    assert tries == 10
