"""Where BOS's keys are looked for, and that no secret is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.wrappers import Response

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials_bos import BosCredentials
from tests.emulators.serving import Ask, Knobs, serving
from tests.unit.transport.waiting import until

SECRET = "s3cr3t"
VARIABLES = {"BCE_ACCESS_KEY_ID": "AK", "BCE_SECRET_ACCESS_KEY": SECRET}


def write(home: Path, text: str) -> None:
    (home / ".go-bcecli").mkdir(exist_ok=True)
    (home / ".go-bcecli" / "credentials").write_text(text)


async def test_the_environment_goes_first(tmp_path: Path) -> None:
    write(tmp_path, "[Defaults]\nAk = other\nSk = other\n")
    source = BosCredentials({"HOME": str(tmp_path), **VARIABLES, "BCE_SESSION_TOKEN": "T"})
    found = await source.get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AK", SECRET, "T")
    assert await source.replace(found, is_certain=True) is None
    assert SECRET not in repr(found)


async def test_the_file_of_bcecmd(tmp_path: Path) -> None:
    write(tmp_path, f'[Defaults]\nAk = AK\nSk = "{SECRET}"\nSts = \n')
    found = await BosCredentials({"HOME": str(tmp_path)}).get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AK", SECRET, None)


async def test_what_was_renewed_in_the_file_is_read_after_a_refusal(tmp_path: Path) -> None:
    write(tmp_path, f"[Defaults]\nAk = AK\nSk = {SECRET}\nSts = old\n")
    source = BosCredentials({"HOME": str(tmp_path)})
    old = await source.get()
    assert old.is_of_file
    write(tmp_path, f"[Defaults]\nAk = AK\nSk = {SECRET}\nSts = new\n")
    assert await source.get() is old
    new = await source.replace(old, is_certain=True)
    assert new is not None
    assert new.session_token == "new"
    assert await source.get() is new


class Instance:
    """The metadata service of a BCC instance, which gives new keys each time."""

    def __init__(self, answer: Callable[[int], Response]) -> None:
        self.environment: dict[str, str] = {}
        self.knobs = Knobs()
        self.count = 0
        self._answer = answer

    def make_bucket(self) -> str:
        return ""

    def answer(self, ask: Ask) -> Response:
        assert ask.target == "/latest/meta-data/sts-credential"
        self.count += 1
        return self._answer(self.count)


def keys(lifetime_s: float, secret_name: str) -> Callable[[int], Response]:
    ends = datetime.fromtimestamp(time.time() + lifetime_s, UTC)
    values = {"sessionToken": "T", "expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return lambda count: Response(
        json.dumps({"accessKeyId": f"AK{count}", secret_name: SECRET, **values})
    )


@pytest.mark.parametrize("secret_name", ["secretAccessKey", "accessKeySecret"])
async def test_the_role_of_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret_name: str
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    home = {"HOME": str(tmp_path)}
    with serving(Instance(keys(7200, secret_name))) as origin:
        source = BosCredentials({**home, "BCE_METADATA_ENDPOINT": origin})
        found = await source.get()
        assert (found.access_key, found.secret_key, found.session_token) == ("AK1", SECRET, "T")
        now += 6800
        assert await source.get() is found
        now += 200
        assert await source.get() is found

        async def is_new() -> bool:
            return (await source.get()).access_key == "AK2"

        await until(is_new)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("", 404), "no credentials found"),
        (Response(f'{{"accessKeyId": "{SECRET}"}}'), "no valid keys"),
        (Response(f"<html>{SECRET}</html>"), "no valid keys"),
    ],
)
async def test_an_instance_without_keys(tmp_path: Path, answer: Response, said: str) -> None:
    with serving(Instance(lambda count: answer)) as origin:
        source = BosCredentials({"HOME": str(tmp_path), "BCE_METADATA_ENDPOINT": origin})
        with pytest.raises(ConfigurationError, match=said) as caught:
            await source.get()
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "BCE_ACCESS_KEY_ID"),
        ("", "access key id"),
        ("[Defaults]\nAk = AK\n", "secret access key"),
        (f"[Defaults]\nAk = AK\n{SECRET}\n", "not a valid file"),
        (f"[Defaults]\nAk = AK\nSk = {SECRET}é\n", "characters"),
    ],
)
async def test_what_is_wrong_is_said_without_the_secret(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        await BosCredentials({"HOME": str(tmp_path)}, allow_metadata=False).get()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_half_of_the_variables(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no access key id of BOS in the environment"):
        await BosCredentials({"HOME": str(tmp_path), "BCE_SECRET_ACCESS_KEY": SECRET}).get()
