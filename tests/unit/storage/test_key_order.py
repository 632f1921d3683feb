"""The order of keys, against sorting their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.errors import InvalidKey
from bucketfs.storage.key_order import SortedKeys, key_bytes

keys = st.binary(min_size=1, max_size=6).map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(st.sets(keys, max_size=20), keys)
def test_places(names: set[str], asked: str) -> None:
    order = SortedKeys()
    for name in names:
        order.add(name)
    expected = sorted(names, key=key_bytes)
    assert [order[place] for place in range(len(order))] == expected
    wanted = key_bytes(asked)
    after = [name for name in expected if key_bytes(name) > wanted]
    assert expected[order.first_after(asked) :] == after
    assert expected[order.first_below(asked) :] == [
        name for name in expected if key_bytes(name) >= wanted
    ]
    assert expected[order.first_behind(asked) :] == [
        name for name in after if not key_bytes(name).startswith(wanted)
    ]


def test_what_stands_for_no_bytes_is_refused() -> None:
    with pytest.raises(InvalidKey):
        key_bytes("\ud800")
