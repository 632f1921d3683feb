"""What is remembered of objects, and for how long."""

from __future__ import annotations

from dataclasses import replace

from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.prover import BELIEVED_S, Prover
from bucketfs.storage.interface import BytesBody, ObjectAttributes
from bucketfs.storage.memory import DEFAULT_CAPABILITIES, MemoryStore

S = 1_000_000_000


class World:
    """A prover over a store of that age; `now_ns` is moved by the tests."""

    def __init__(self, *, shows_changes: bool = True) -> None:
        self.now_ns = 1_000_000 * S
        capabilities = replace(DEFAULT_CAPABILITIES, dates_metadata=shows_changes)
        self.store = MemoryStore(capabilities=capabilities, now_ns=lambda: self.now_ns)
        self.prover = Prover(self.store, Defaults(1, 2), 4, lambda: self.now_ns)


async def test_what_was_stored_here_is_believed_for_a_minute() -> None:
    world = World()
    info = await world.store.write("f", BytesBody(b"abc"), ObjectAttributes({"mode": "33188"}))
    attributes = world.prover.guess(info).attributes
    world.prover.believe(info, attributes)
    world.now_ns += BELIEVED_S * S
    proof = world.prover.recall(info)
    assert proof is not None
    assert proof.attributes is attributes
    world.now_ns += S
    assert world.prover.recall(info) is None


async def test_what_the_server_told_is_remembered_while_listings_show_the_same_object() -> None:
    world = World()
    info = await world.store.write("f", BytesBody(b"abc"), ObjectAttributes())
    world.now_ns += 10 * S
    proof = await world.prover.ask_file("f")
    world.now_ns += 100_000 * S
    assert world.prover.recall(info) == proof
    assert world.prover.recall(replace(info, modified_ns=info.modified_ns + S)) is None
    assert world.prover.recall(replace(info, size=4)) is None


async def test_where_listings_do_not_show_changes_of_metadata_it_is_asked_again() -> None:
    world = World(shows_changes=False)
    info = await world.store.write("f", BytesBody(b"abc"), ObjectAttributes())
    world.now_ns += 10 * S
    await world.prover.ask_file("f")
    assert world.prover.recall(info) is not None
    world.now_ns += (BELIEVED_S + 1) * S
    assert world.prover.recall(info) is None
