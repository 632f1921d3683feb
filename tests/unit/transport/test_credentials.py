"""Where keys are looked for, in which order, and that no secret is shown."""

from __future__ import annotations

import json
import logging
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing

from bucketfs.errors import BucketfsError, ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials import Credentials, FixedCredentials
from bucketfs.transport.credentials_aws import CredentialChain
from tests.unit.transport.scripted import ScriptedServer, reply
from tests.unit.transport.waiting import until

SECRET = "s3cr3t/value"


def chain(
    home: Path,
    environment: dict[str, str] | None = None,
    *,
    profile: str | None = None,
    allow_metadata: bool = False,
) -> CredentialChain:
    return CredentialChain(
        {"HOME": str(home), **(environment or {})}, profile=profile, allow_metadata=allow_metadata
    )


def files(home: Path, *, credentials: str = "", config: str = "") -> None:
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)


def process(home: Path, answer: object, status: int = 0) -> str:
    script = home / "give"
    script.write_text(f"#!/bin/sh\necho x >> {home}/runs\ncat <<'E'\n{answer}\nE\nexit {status}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"[default]\ncredential_process = {script} --now\n"


def answer_of(expires_in_s: float, key: str = "PK", token_name: str = "SessionToken") -> str:
    expires = datetime.fromtimestamp(time.time() + expires_in_s, UTC).isoformat()
    return json.dumps(
        {"AccessKeyId": key, "SecretAccessKey": SECRET, token_name: "T", "Expiration": expires}
    )


async def test_the_environment_goes_first(tmp_path: Path) -> None:
    files(tmp_path, credentials="[default]\naws_access_key_id=F\naws_secret_access_key=f\n")
    environment = {
        "AWS_ACCESS_KEY_ID": "E",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": "T",
    }
    assert await chain(tmp_path, environment).get() == Credentials("E", SECRET, "T")


async def test_a_profile_that_is_asked_for_goes_before_the_environment(tmp_path: Path) -> None:
    files(tmp_path, config="[profile p]\naws_access_key_id=P\naws_secret_access_key=p\n")
    environment = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": SECRET}
    assert (await chain(tmp_path, environment, profile="p").get()).access_key == "P"


async def test_the_profile_may_be_named_by_the_environment(tmp_path: Path) -> None:
    files(tmp_path, credentials="[p]\naws_access_key_id=P\naws_secret_access_key=p\n")
    assert (await chain(tmp_path, {"AWS_PROFILE": "p"}).get()).access_key == "P"


async def test_the_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[default]\naws_access_key_id=C\naws_secret_access_key=c%d\n")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "c")}
    assert await chain(tmp_path, environment).get() == Credentials("C", "c%d")


async def wait_for_runs(home: Path, count: int) -> None:
    async def has_run() -> bool:
        return (home / "runs").read_text().count("x") >= count

    await until(has_run)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (home / "runs").read_text().count("x") == count


@pytest.mark.parametrize(("lifetime_s", "good_s"), [(3600, 3300), (400, 200), (60, 30)])
async def test_a_command_gives_keys_and_is_run_again_before_they_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifetime_s: float, good_s: float
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    files(tmp_path, config=process(tmp_path, answer_of(lifetime_s)))
    source = chain(tmp_path)
    first = await source.get()
    now += good_s - 1
    assert await source.get() is first
    assert (tmp_path / "runs").read_text().count("x") == 1
    now += 2
    assert await source.get() is first, "nobody waits for the new ones"
    await wait_for_runs(tmp_path, 2)


async def test_fixed_credentials_have_no_successor() -> None:
    credentials = Credentials("A", SECRET)
    assert await FixedCredentials(credentials).replace(credentials, is_certain=True) is None


@pytest.mark.parametrize(
    ("environment", "credentials", "config", "says"),
    [
        ({}, "", "", "no credentials found"),
        ({"AWS_ACCESS_KEY_ID": "A"}, "", "", "AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "", "", "AWS_ACCESS_KEY_ID is not set"),
        ({"AWS_PROFILE": "nobody"}, "", "", "no profile 'nobody'"),
        ({}, "[default]\naws_access_key_id=A\n", "", "no aws_secret_access_key"),
        ({}, f"aws_secret_access_key={SECRET}\n", "", "not a valid AWS file"),
        ({}, f"[default]\n{SECRET}\n", "", "not a valid AWS file"),
        ({}, "", "[default]\nrole_arn=x\n", "role_arn"),
        ({}, "", "[default]\ncredential_process=/does/not/exist\n", "cannot be run"),
    ],
)
async def test_what_is_wrong_is_said_without_the_secret(
    tmp_path: Path, environment: dict[str, str], credentials: str, config: str, says: str
) -> None:
    files(tmp_path, credentials=credentials, config=config)
    with pytest.raises(ConfigurationError, match=says) as caught:
        await chain(tmp_path, environment).get()
    assert_hidden(caught.value)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (f'{{"SecretAccessKey": "{SECRET}"}}', 0, "no valid keys"),
        (f'"{SECRET}"', 0, "no valid keys"),
        (f"{SECRET}", 0, "no valid keys"),
        (f"{SECRET}", 3, "exit status 3"),
    ],
)
async def test_a_command_that_fails_says_so_without_the_secret(
    tmp_path: Path, answer: str, status: int, says: str
) -> None:
    files(tmp_path, config=process(tmp_path, answer, status))
    with pytest.raises(BucketfsError, match=says) as caught:
        await chain(tmp_path).get()
    assert isinstance(caught.value, KeysUnavailable if status else ConfigurationError)
    assert_hidden(caught.value)


def assert_hidden(exc: BucketfsError) -> None:
    chained: BaseException | None = exc
    while chained is not None:
        assert SECRET not in repr(chained)
        chained = chained.__cause__


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("AKID", SECRET, "TOKEN"))
    assert "AKID" in shown
    assert SECRET not in shown
    assert "TOKEN" not in shown


async def test_an_instance_gives_the_keys_of_its_role(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(
        reply(200, b"IMDSTOKEN"),
        reply(200, b"my-role\n"),
        reply(200, answer_of(3600, token_name="Token").encode()),
    ) as server:
        environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.origin + "/"}
        found = await chain(tmp_path, environment, allow_metadata=True).get()
    assert (found.access_key, found.session_token) == ("PK", "T")
    assert [(heard.method, heard.target) for heard in server.heard] == [
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/iam/security-credentials/"),
        ("GET", "/latest/meta-data/iam/security-credentials/my-role"),
    ]
    assert server.heard[2].headers["x-aws-ec2-metadata-token"] == "IMDSTOKEN"
    assert SECRET not in caplog.text
    assert "IMDSTOKEN" not in caplog.text


async def test_a_container_is_asked_with_its_token(tmp_path: Path) -> None:
    with ScriptedServer(reply(200, answer_of(3600, token_name="Token").encode())) as server:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.origin}/creds?a=1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "CT",
        }
        found = await chain(tmp_path, environment, allow_metadata=True).get()
    assert found.access_key == "PK"
    assert server.heard[0].target == "/creds?a=1"
    assert server.heard[0].headers["authorization"] == "CT"


async def test_no_network_is_asked_where_it_must_not_be(tmp_path: Path) -> None:
    with ScriptedServer(reply(200, b"x")) as server:
        environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.origin}
        with pytest.raises(ConfigurationError, match="no credentials found"):
            await chain(tmp_path, environment, allow_metadata=False).get()
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
        with pytest.raises(ConfigurationError, match="no credentials found"):
            await chain(tmp_path, environment, allow_metadata=True).get()
        assert server.connections == 0


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/c", "http://example.com/c", "ftp://127.0.0.1/c", "/c"]
)
async def test_a_container_is_not_asked_over_an_open_line(tmp_path: Path, url: str) -> None:
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": SECRET,
    }
    with pytest.raises(ConfigurationError, match="must be https:") as caught:
        await chain(tmp_path, environment, allow_metadata=True).get()
    assert_hidden(caught.value)


async def test_the_token_of_a_container_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("FT\n")
    with ScriptedServer(reply(200, answer_of(3600, token_name="Token").encode())) as server:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.origin}/c",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        }
        await chain(tmp_path, environment, allow_metadata=True).get()
    assert server.heard[0].headers["authorization"] == "FT"


async def test_the_shared_file_is_read_again_after_a_refusal(tmp_path: Path) -> None:
    files(tmp_path, credentials="[default]\naws_access_key_id=A\naws_secret_access_key=a\n")
    source = chain(tmp_path)
    first = await source.get()
    assert first.is_of_file
    assert await source.replace(first, is_certain=True) is None
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=B\naws_secret_access_key=b\naws_session_token=t\n"
    )
    await trio.sleep(1.1)
    assert await source.replace(first, is_certain=True) == Credentials("B", "b", "t")
