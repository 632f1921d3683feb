"""HttpClient and the exchange, against a server that misbehaves as told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from bucketfs.counting import causes
from bucketfs.counting.causes import Cause, Program
from bucketfs.counting.meter import Meter
from bucketfs.errors import ConfusedServer, Transient
from bucketfs.storage.interface import BytesBody, MemorySink
from bucketfs.transport.client import HttpClient
from bucketfs.transport.exchange import Intake, Request, Response
from tests.unit.transport.scripted import STRANGER, Heard, ScriptedServer, raw, reply


@asynccontextmanager
async def client_of(timeout_s: float = 5.0, concurrency: int = 4) -> AsyncIterator[HttpClient]:
    client = HttpClient(concurrency=concurrency, timeout_s=timeout_s, is_environment_trusted=False)
    yield client
    await client.aclose()


def get(server: ScriptedServer, sink: MemorySink | None = None, limit: int = 1 << 30) -> Request:
    intake = None if sink is None else lambda head: Intake(sink, limit)
    return Request("GET", server.origin, "/a%20b?x=1", "bucket.example", intake=intake)


async def test_a_request_arrives_as_written_and_its_connection_is_used_again() -> None:
    with ScriptedServer(reply(200, b"hello", {"ETag": '"x"'})) as server:
        async with client_of() as client:
            request = Request(
                "PUT", server.origin, "/k%2B?q", "h.example", {"x-a": "1"}, BytesBody(b"body")
            )
            first = await client.send(request)
            await client.send(request)
        heard = server.heard[0]
    assert first == Response(200, {"content-length": "5", "etag": '"x"'}, b"hello")
    assert (heard.method, heard.target, heard.body) == ("PUT", "/k%2B?q", b"body")
    assert heard.headers["host"] == "h.example"
    assert heard.headers["x-a"] == "1"
    assert heard.headers["user-agent"].startswith("bucketfs/")
    assert server.connections == 1


async def test_a_large_body_is_signed_outside_of_the_trio_thread() -> None:
    threads = []
    body = bytes(1 << 20)

    def sign(request: Request) -> dict[str, str]:
        threads.append(threading.current_thread())
        return {"authorization": request.method}

    with ScriptedServer(reply(204)) as server:
        async with client_of() as client:
            await client.send(Request("PUT", server.origin, "/", "h", body=body), sign)
        assert server.heard[0].headers["authorization"] == "PUT"
    assert threads[0] is not threading.main_thread()


async def test_a_large_body_goes_both_ways_in_pieces() -> None:
    data = bytes(range(256)) * (12 << 10)

    class Pieces:
        size = len(data)

        def __iter__(self) -> Iterator[bytes | memoryview]:
            for start in range(0, len(data), 700_001):
                yield memoryview(data)[start : start + 700_001]

    with ScriptedServer(lambda c, heard: reply(200, heard.body)(c, heard)) as server:
        async with client_of() as client:
            buffer = bytearray(len(data))
            sink = MemorySink(buffer)
            await client.send(
                Request(
                    "PUT",
                    server.origin,
                    "/",
                    "h",
                    body=Pieces(),
                    intake=lambda h: Intake(sink, 1 << 30),
                )
            )
    assert sink.received == len(data)
    assert buffer == data


async def test_chunks_are_joined_and_the_connection_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n"

    def answer(connection: socket.socket, heard: Heard) -> bool:
        connection.sendall(chunked)
        return True

    with ScriptedServer(answer) as server:
        async with client_of() as client:
            assert (await client.send(get(server))).body == b"hello!"
            assert (await client.send(get(server))).body == b"hello!"
        assert server.connections == 1


async def test_the_bytes_of_a_header_are_kept() -> None:
    values = [name.encode() for name in ("à", "Å", "目")]  # They end with 0xA0, 0x85 and 0xAE.
    head = b"HTTP/1.1 204 No\r\n" + b"".join(
        b"X-%d: \t%b \r\n" % (place, value) for place, value in enumerate(values)
    )
    with ScriptedServer(raw(head + b"Connection: close\r\n\r\n")) as server:
        async with client_of() as client:
            answer = await client.send(get(server))
    found = [answer.headers[f"x-{place}"].encode("latin-1") for place in range(len(values))]
    assert found == values


async def test_a_body_without_length_ends_with_the_connection() -> None:
    with ScriptedServer(raw(b"HTTP/1.0 200 OK\r\n\r\nall of it")) as server:
        async with client_of() as client:
            assert (await client.send(get(server))).body == b"all of it"


async def test_interim_answers_are_passed_over() -> None:
    with ScriptedServer(
        raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\n")
    ) as server:
        async with client_of() as client:
            assert (await client.send(get(server))).status == 204


@pytest.mark.parametrize("has_sink", [True, False])
async def test_a_short_body_is_transient_and_leaves_what_came(has_sink: bool) -> None:
    sink = MemorySink(bytearray(10))
    with ScriptedServer(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) as server:
        async with client_of() as client:
            with pytest.raises(Transient, match="shorter"):
                await client.send(get(server, sink if has_sink else None))
    assert sink.received == (4 if has_sink else 0)


async def test_a_sink_without_room_ends_the_exchange_and_the_connection() -> None:
    with ScriptedServer(reply(200, b"0123456789")) as server:
        async with client_of() as client:
            sink = MemorySink(bytearray(4))
            await client.send(get(server, sink))
            assert sink.received == 4
            assert (await client.send(get(server))).body == b"0123456789"
        assert server.connections == 2


async def test_a_sink_gets_no_more_than_its_limit() -> None:
    with ScriptedServer(reply(200, b"0123456789")) as server:
        async with client_of() as client:
            sink = MemorySink(bytearray(10))
            await client.send(get(server, sink, limit=3))
    assert sink.received == 3


async def test_an_intake_that_refuses_ends_the_exchange_with_its_error() -> None:
    def refuse(head: Response) -> Intake:
        raise ValueError(str(head.status))

    with ScriptedServer(reply(200, b"0123456789")) as server:
        async with client_of() as client:
            with pytest.raises(ValueError, match="200"):
                await client.send(Request("GET", server.origin, "/", "h", intake=refuse))
            assert (await client.send(get(server))).body == b"0123456789"


async def test_a_stale_connection_is_replaced_once() -> None:
    def close_unseen(connection: socket.socket, heard: Heard) -> bool:
        return False  # The second request on the connection gets no answer at all.

    with ScriptedServer(reply(200), close_unseen, reply(201)) as server:
        async with client_of() as client:
            await client.send(get(server))
            assert (await client.send(get(server))).status == 201
        assert server.connections == 2


async def test_what_may_not_be_repeated_is_not() -> None:
    with ScriptedServer(reply(200), lambda c, h: False, reply(201)) as server:
        async with client_of() as client:
            await client.send(get(server))
            with pytest.raises(Transient) as caught:
                await client.send(
                    Request("PUT", server.origin, "/", "h", body=b"", is_repeatable=False)
                )
        assert caught.value.sent
        assert len(server.heard) == 2


async def test_a_fresh_connection_that_gets_no_answer_is_transient() -> None:
    with ScriptedServer(lambda c, h: False) as server:
        async with client_of() as client:
            with pytest.raises(Transient) as caught:
                await client.send(get(server))
        assert caught.value.sent
        assert len(server.heard) == 1


async def test_silence_is_transient_after_the_timeout() -> None:
    def wait(connection: socket.socket, heard: Heard) -> bool:
        time.sleep(0.5)
        return False

    with ScriptedServer(wait) as server:
        async with client_of(timeout_s=0.1) as client:
            with pytest.raises(Transient, match="timed out"):
                await client.send(get(server))


async def test_a_port_where_nobody_listens_is_transient_and_surely_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with client_of() as client:
        with pytest.raises(Transient) as caught:
            await client.send(Request("GET", f"http://127.0.0.1:{port}", "/", "h"))
    assert not caught.value.sent


async def test_an_answer_that_comes_while_we_still_send_is_heard() -> None:
    def refuse(connection: socket.socket, heard: Heard) -> bool:
        connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        return False

    with ScriptedServer(before_body=refuse) as server:
        async with client_of() as client:
            request = Request("PUT", server.origin, "/", "h", body=BytesBody(bytes(32 << 20)))
            response = await client.send(request)
    assert (response.status, response.body) == (413, b"no")


async def test_an_error_of_the_body_is_its_own_and_not_the_wires() -> None:
    class Broken:
        size = 5

        def __iter__(self) -> Iterator[bytes | memoryview]:
            raise OSError("the disk")

    with ScriptedServer(reply(200)) as server:
        async with client_of() as client:
            with pytest.raises(OSError, match="the disk"):
                await client.send(Request("PUT", server.origin, "/", "h", body=Broken()))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
    ],
)
async def test_what_is_not_http_is_a_confused_server(answer: bytes) -> None:
    with ScriptedServer(raw(answer)) as server:
        async with client_of() as client:
            with pytest.raises(ConfusedServer):
                await client.send(get(server))


async def test_sinks_that_block_do_not_keep_other_requests_from_going() -> None:
    is_free = threading.Event()

    class Blocked(MemorySink):
        def room(self) -> memoryview:
            is_free.wait(5)
            return super().room()

    with ScriptedServer(reply(200, b"data")) as server:
        async with client_of(concurrency=1) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send, get(server, Blocked(bytearray(4))))
            await trio.sleep(0.05)
            assert (await client.send(get(server))).body == b"data"
            is_free.set()


async def test_a_certificate_of_a_stranger_is_told_at_once() -> None:
    with ScriptedServer(reply(200, b"hello"), certificate=STRANGER) as server:
        async with client_of() as client:
            with pytest.raises(ConfusedServer, match="REQUESTS_CA_BUNDLE"):
                await client.send(get(server))
        client = HttpClient(verify=str(STRANGER), is_environment_trusted=False)
        assert (await client.send(get(server))).body == b"hello"
        await client.aclose()


async def test_tasks_share_connections_with_tls_and_get_all_of_large_answers() -> None:
    data = bytes(range(256)) * (12 << 10)
    answered: list[int] = []

    async def ask(client: HttpClient, server: ScriptedServer, number: int) -> None:
        body = bytes([number]) * 60_000
        request = Request("PUT", server.origin, f"/{number}", "h", body=body)
        assert (await client.send(request)).body == body
        assert (await client.send(get(server))).body == data
        answered.append(number)

    def echo(connection: socket.socket, heard: Heard) -> bool:
        return reply(200, heard.body or data)(connection, heard)

    with ScriptedServer(echo, certificate=STRANGER) as server:
        client = HttpClient(verify=str(STRANGER), is_environment_trusted=False)
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(ask, client, server, number)
        assert sorted(answered) == sorted([*range(12), *range(12)])
        assert server.connections <= 12
        await client.aclose()


def figures(meter: Meter, operation: str) -> tuple[int, int, int, int]:
    found = meter.report()["requests"][operation]
    return (
        found["requests"],
        found["failures"],
        found["sent_bytes"],
        found["received_bytes"],
    )


async def test_every_request_is_counted_for_whoever_caused_it() -> None:
    meter = Meter()
    with ScriptedServer(reply(200, b"hello")) as server:
        client = HttpClient(is_environment_trusted=False, meter=meter)
        put = Request("PUT", server.origin, "/k", "h", {}, BytesBody(b"body"), operation="write")
        with causes.acting(Cause(0, Program("program", "cp"))):
            await client.send(put)
        read = replace(get(server, MemorySink(bytearray(5))), operation="read_range")
        await client.send(read)
        await client.aclose()
    assert figures(meter, "write") == (1, 0, 4, 5)
    assert figures(meter, "read_range") == (1, 0, 0, 5)
    assert {row["name"] for row in meter.report()["programs"]} == {"cp", "other"}
    assert meter.report()["requests"]["write"]["latency_s"]["max"] > 0


async def test_a_read_is_as_late_as_the_head_of_its_answer() -> None:
    class Slow(MemorySink):
        def room(self) -> memoryview:
            time.sleep(0.3)  # a reader that stays away is not the server's fault
            return super().room()

    meter = Meter()
    with ScriptedServer(reply(200, b"hello")) as server:
        client = HttpClient(is_environment_trusted=False, meter=meter)
        await client.send(replace(get(server, Slow(bytearray(5))), operation="read_range"))
        await client.aclose()
    assert 0 < meter.report()["requests"]["read_range"]["latency_s"]["max"] < 0.3


async def test_what_fails_is_counted_as_far_as_it_came() -> None:
    meter = Meter()
    short = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
    with ScriptedServer(short) as server:
        client = HttpClient(is_environment_trusted=False, meter=meter)
        request = replace(get(server, MemorySink(bytearray(9))), operation="read_range")
        with pytest.raises(Transient):
            await client.send(request)
        await client.aclose()
    with pytest.raises(Transient):
        await HttpClient(is_environment_trusted=False, meter=meter).send(
            Request("HEAD", "http://127.0.0.1:1", "/", "h", operation="stat")
        )
    assert figures(meter, "read_range") == (1, 1, 0, 4)
    assert figures(meter, "stat") == (1, 1, 0, 0)
    assert meter.in_flight == 0
