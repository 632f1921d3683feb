"""Which host is asked: for how long an answer holds, and whose turn it is."""

from __future__ import annotations

import json
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from bucketfs.errors import (
    AccessDenied,
    BucketNotFound,
    ConfigurationError,
    ConfusedServer,
    Transient,
)
from bucketfs.storage.kodo.hosts import Host, Hosts
from bucketfs.transport.client import HttpClient
from bucketfs.transport.exchange import Request, Response

ANSWER = {
    "hosts": [
        {
            "region": "z0",
            "ttl": 3600,
            "up": {"domains": ["up1", "up2"]},
            "rs": {"domains": ["rs1"]},
            "rsf": {"domains": ["rsf1"]},
        }
    ]
}


class Asked:
    """Stands for an HttpClient: gives the next answer, and remembers who was asked."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.origins: list[str] = []

    async def send(self, request: Request, sign: object = None) -> Response:
        """Give the next answer; the last one for ever."""
        await trio.lowlevel.checkpoint()
        self.origins.append(request.origin)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def hosts_over(asked: Asked, **more: str) -> Hosts:
    """Return hosts that ask `asked`."""
    return Hosts("b", client=cast(HttpClient, asked), uc_hosts=("uc1", "uc2"), **more)


def told(answer: object = ANSWER) -> Response:
    """Return an answer of the uc service."""
    return Response(200, {"x-reqid": "R"}, json.dumps(answer).encode())


async def test_it_is_asked_once_until_the_answer_has_aged(autojump_clock: MockClock) -> None:
    asked = Asked(told())
    hosts = hosts_over(asked)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(hosts.of, "rs", "ak")
    assert await hosts.of("rs", "ak") == Host("https://rs1", "rs1")
    assert asked.origins == ["https://uc1"]
    await trio.sleep(3601)
    await hosts.of("rs", "ak")
    assert len(asked.origins) == 2


async def test_an_old_answer_is_better_than_none(autojump_clock: MockClock) -> None:
    asked = Asked(told(), Transient("down"), told())
    hosts = hosts_over(asked)
    await hosts.of("rs", "ak")
    await trio.sleep(3601)
    assert (await hosts.of("rs", "ak")).name == "rs1"
    await hosts.of("rs", "ak")
    assert asked.origins == ["https://uc1", "https://uc1", "https://uc2"]


async def test_a_host_that_failed_makes_room_for_the_next() -> None:
    hosts = hosts_over(Asked(told()), scheme="http")
    assert (await hosts.of("up", "ak")).origin == "http://up1"
    hosts.failed("up")
    assert (await hosts.of("up", "ak")).name == "up2"
    assert (await hosts.of("rs", "ak")).name == "rs1"
    hosts.failed("up")
    assert (await hosts.of("up", "ak")).name == "up1"
    assert (await hosts.of("uc", "ak")).name == "uc1"


@pytest.mark.parametrize(
    ("status", "kind"), [(631, BucketNotFound), (612, AccessDenied), (503, Transient)]
)
async def test_refusals(status: int, kind: type[Exception]) -> None:
    answer = Response(status, {"x-reqid": "R"}, b'{"error":"said"}')
    with pytest.raises(kind, match="said"):
        await hosts_over(Asked(answer)).of("rs", "ak")


@pytest.mark.parametrize(
    "answer", [{}, [], {"hosts": []}, {"hosts": [{"ttl": 1}]}, {"hosts": [{"up": 1}]}]
)
async def test_answers_that_make_no_sense(answer: object) -> None:
    with pytest.raises(ConfusedServer):
        await hosts_over(Asked(told(answer))).of("rs", "ak")


async def test_a_given_endpoint_stands_for_all() -> None:
    asked = Asked(told())
    hosts = hosts_over(asked, endpoint="http://127.0.0.1:9001", scheme="https")
    assert await hosts.of("up", "ak") == Host("http://127.0.0.1:9001", "127.0.0.1:9001")
    assert hosts.download("cdn.example.com") == Host("http://127.0.0.1:9001", "cdn.example.com")
    assert hosts.scheme == "http"
    assert asked.origins == []
    for wrong in ("127.0.0.1", "ftp://h", "http://h/path"):
        with pytest.raises(ConfigurationError):
            hosts_over(asked, endpoint=wrong)
