"""Where COS's keys are found, in which order, and that no secret is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from werkzeug.wrappers import Response

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials_cos import CosCredentials, TencentFiles
from tests.emulators.serving import Ask, Knobs, serving
from tests.unit.transport.waiting import until

COS = {"COS_SECRET_ID": "cos-id", "COS_SECRET_KEY": "cos-key"}
CLOUD = {"TENCENTCLOUD_SECRET_ID": "tc-id", "TENCENTCLOUD_SECRET_KEY": "tc-key"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def test_the_environment_goes_first(tmp_path: Path) -> None:
    write(tmp_path / ".cos.conf", "[common]\nsecret_id = file-id\nsecret_key = file-key\n")
    home = {"HOME": str(tmp_path)}
    found = await CosCredentials({**home, **CLOUD, **COS, "COS_TOKEN": "t"}).get()
    assert (found.access_key, found.secret_key, found.session_token) == ("cos-id", "cos-key", "t")
    found = await CosCredentials({**home, **CLOUD, "TENCENTCLOUD_SESSION_TOKEN": "s"}).get()
    assert (found.access_key, found.secret_key, found.session_token) == ("tc-id", "tc-key", "s")
    found = await CosCredentials(home, allow_metadata=False).get()
    assert (found.access_key, found.secret_key) == ("file-id", "file-key")


async def test_files_of_profiles(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    write(tmp_path / ".cos.conf", "[common]\nsecret_id = c\nsecret_key = c\nregion = ap-x\n")
    assert TencentFiles(home).read()["region"] == "ap-x"
    write(tmp_path / ".tencentcloud/credentials", "[default]\nsecret_id = d\nsecret_key = d\n")
    assert TencentFiles(home).read()["secret_id"] == "d"
    keys = {"secretId": "w", "secretKey": "w", "token": "t"}
    write(tmp_path / ".tccli/work.credential", json.dumps(keys))
    found = await CosCredentials({**home, **COS}, profile="work").get()
    assert (found.access_key, found.session_token) == ("w", "t")
    with pytest.raises(ConfigurationError, match="no profile 'other'"):
        TencentFiles(home, "other").read()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".cos.conf", "secret_key = SECRET"),
        (".cos.conf", "[common]\nsecret_key = SECRET\n"),
        (".tccli/default.credential", '{"secretId": "SECRET'),
        (".tccli/default.credential", '["SECRET"]'),
    ],
)
async def test_malformed_files_show_no_secret(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / name, text)
    with pytest.raises(ConfigurationError) as caught:
        await CosCredentials({"HOME": str(tmp_path)}, allow_metadata=False).get()
    assert "SECRET" not in f"{caught.value!r}{caught.value.__cause__!r}"


@pytest.mark.parametrize("name", [*COS, *CLOUD])
async def test_half_a_pair_is_an_error(tmp_path: Path, name: str) -> None:
    environment = {"HOME": str(tmp_path), **(COS if name in COS else CLOUD)}
    del environment[name]
    with pytest.raises(ConfigurationError, match=name):
        await CosCredentials(environment).get()


async def test_no_keys_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="COS_SECRET_ID"):
        await CosCredentials({"HOME": str(tmp_path)}, allow_metadata=False).get()


class Instance:
    """The metadata service of a CVM instance; `lifetime_s` is how long its keys are good."""

    def __init__(self, lifetime_s: float) -> None:
        self.environment: dict[str, str] = {}
        self.knobs = Knobs()
        self._lifetime_s = lifetime_s
        self._count = 0

    def make_bucket(self) -> str:
        return ""

    def answer(self, ask: Ask) -> Response:
        if ask.target.endswith("/security-credentials/"):
            return Response("role")
        assert ask.target.endswith("/role")
        self._count += 1
        keys = {"TmpSecretId": f"id-{self._count}", "TmpSecretKey": "k", "Token": "t"}
        return Response(json.dumps({**keys, "ExpiredTime": time.time() + self._lifetime_s}))


@contextmanager
def instance(tmp_path: Path, lifetime_s: float) -> Iterator[CosCredentials]:
    with serving(Instance(lifetime_s)) as origin:
        yield CosCredentials({"HOME": str(tmp_path), "TENCENTCLOUD_METADATA_ENDPOINT": origin})


async def test_the_role_of_an_instance(tmp_path: Path) -> None:
    with instance(tmp_path, 7200) as credentials:
        found = await credentials.get()
        assert (found.access_key, found.session_token) == ("id-1", "t")
        assert await credentials.get() is found


async def test_keys_that_end_soon_are_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path, 60) as credentials:
        first = await credentials.get()
        assert await credentials.get() is first
        late = time.time() + 40
        monkeypatch.setattr(time, "time", lambda: late)
        assert await credentials.get() is first

        async def is_new() -> bool:
            return (await credentials.get()).access_key == "id-2"

        await until(is_new)
        assert first.access_key == "id-1"
