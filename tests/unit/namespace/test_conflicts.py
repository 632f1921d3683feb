"""Names of conflicting copies: fit for any bucket, and never twice the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bucketfs.namespace import keys
from bucketfs.namespace.conflicts import conflict_name


def test_the_name_says_what_it_is() -> None:
    name = conflict_name("report.txt", "my host/1", 1_700_000_000_123_456_789)
    assert name == "report.txt.conflict-my-host-1-20231114T221320.123456Z"


@given(st.text(min_size=1, max_size=300), st.text(max_size=100), st.integers(0, 2**62))
def test_any_name_fits(name: str, host: str, now_ns: int) -> None:
    made = conflict_name(name, host, now_ns)
    assert keys.encoded_length(made) <= keys.NAME_MAX_BYTES
    assert ".conflict-" in made
    assert made != conflict_name(name, host, now_ns + 1000)
