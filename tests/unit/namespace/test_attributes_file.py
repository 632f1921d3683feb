"""The file of remembered attributes: what was put is found, and nothing wrong with it hurts."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketfs.namespace.attributes_file import FILE_NAME, AttributesFile, Told, is_spoilt
from bucketfs.storage.interface import ObjectInfo, Version

STORE = "s3://bucket at http://server"

keys = st.text(max_size=12) | st.binary(max_size=12).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
texts = st.text(max_size=8)
infos = st.builds(
    ObjectInfo,
    keys,
    st.integers(0, 1 << 60),
    texts.map(Version),
    st.integers(-(1 << 40), 1 << 62),
    st.dictionaries(texts, texts, max_size=4),
    st.none() | texts,
    st.none() | texts,
    st.booleans(),
)
tolds = st.builds(
    lambda info, target, is_hint: Told(info.key, None if is_hint else info, target),
    infos,
    st.none() | st.binary(max_size=20),
    st.booleans(),
)


def told(key: str, **metadata: str) -> Told:
    return Told(key, ObjectInfo(key, 3, Version("v"), 10**18, metadata))


def found(file: AttributesFile, *keys: str) -> dict[str, Told]:
    return {one.key: one for one in file.read(keys, lambda one: one)}


@given(some=st.lists(tolds, unique_by=lambda one: one.key), others=st.lists(tolds))
def test_what_was_put_last_is_found(
    tmp_path_factory: pytest.TempPathFactory, some: list[Told], others: list[Told]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    with closing(AttributesFile.open(folder, STORE)) as file:
        assert file.is_empty
        file.write(some)
        file.write(others)
    wanted = {
        one.key: one if one.info is not None else Told(one.key, None) for one in [*some, *others]
    }
    with closing(AttributesFile.open(folder, STORE)) as file:
        assert found(file, *wanted, "never put") == wanted
        assert file.is_empty == (not wanted)


def test_many_keys_are_read_at_once(tmp_path: Path) -> None:
    many = [told(f"d/f{number}", mode="33188") for number in range(1700)]
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write(many)
        assert len(found(file, *(one.key for one in many), "absent")) == 1700


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write([told("secret", password="1")])
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def spoil_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def spoil_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1")


def spoil_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE objects")


def spoil_bytes(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "spoil", [spoil_version, spoil_program, spoil_tables, spoil_bytes, empty, Path.unlink]
)
def test_a_file_that_is_of_no_use_is_made_anew(tmp_path: Path, spoil: object) -> None:
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write([told("a")])
    spoil(tmp_path / FILE_NAME)  # type: ignore[operator]
    for is_empty in (True, False):
        with closing(AttributesFile.open(tmp_path, STORE)) as file:
            assert file.is_empty == is_empty
            file.write([told("b")])
            assert found(file, "a", "b").keys() == {"b"}


def test_another_store_has_a_file_of_its_own(tmp_path: Path) -> None:
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write([told("a")])
    with closing(AttributesFile.open(tmp_path, "s3://other")) as file:
        assert found(file, "a") == {}
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        assert found(file, "a") == {}


@pytest.mark.parametrize(
    "facts",
    ["", "[]", "7", '"x"', '["3","v",1,{},null,null,false,null]', '[3,"v",1,[],null,null,0,null]',
     '[3,"v",1,{"mode":5},null,null,0,null]', '[3,"v",1,{},null,null,0,"%"]',
     '[3,null,1,{},null,null,0,null]'],
)  # fmt: skip
def test_a_row_that_makes_no_sense_says_nothing(tmp_path: Path, facts: str) -> None:
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write([told("a"), told("b")])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE objects SET facts = ? WHERE key = ?", (facts, b"a"))
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        assert found(file, "a", "b").keys() == {"b"}


def test_it_stays_small_and_keeps_what_is_used(tmp_path: Path) -> None:
    most_bytes = 400_000
    old = [told(f"old{number}", mode="33188") for number in range(1000)]
    used = [told(f"used{number}", mode="33188") for number in range(1000)]
    with closing(AttributesFile.open(tmp_path, STORE, most_bytes)) as file:
        file.write(used)
        file.write(old)
        assert file.used_bytes() > most_bytes // 2, "the test is about a file that fills up"
    with closing(AttributesFile.open(tmp_path, STORE, most_bytes)) as file:
        assert len(found(file, *(one.key for one in used))) == 1000
        for turn in range(20):
            file.write([told(f"{turn}-{number}", mode="33188") for number in range(100)])
            assert file.used_bytes() < most_bytes * 1.2
        assert len(found(file, *(one.key for one in used))) == 1000
        assert len(found(file, *(one.key for one in old))) < 1000
        for turn in range(30):
            file.write([told(f"{turn}+{number}", mode="33188") for number in range(100)])
            assert file.used_bytes() < most_bytes * 1.2
        assert len(found(file, *(f"29+{number}" for number in range(100)))) == 100
    assert (tmp_path / FILE_NAME).stat().st_size < most_bytes * 1.3


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path) -> None:
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        file.write([told("a")])
        file._writing.execute(f"PRAGMA max_page_count = {file.used_bytes() // 4096}")
        with pytest.raises(sqlite3.OperationalError) as caught:
            file.write([told(f"b{number}", mode="33188") for number in range(1000)])
        assert not is_spoilt(caught.value)
        assert found(file, "a", "b0").keys() == {"a"}
    with closing(AttributesFile.open(tmp_path, STORE)) as file:
        assert not file.is_empty
