"""AWS's STS: a token in a file becomes keys; by botocore, what we do not do ourselves."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bucketfs.errors import BucketfsError, ConfigurationError, KeysUnavailable
from bucketfs.transport.credentials_aws import CredentialChain
from tests.unit.transport.scripted import Heard, ScriptedServer, reply

SECRET = "s3cr3t/value"
IDENTITY = "eyJ.identity.token"
ROLE = "arn:aws:iam::123456789012:role/r"


def document(action: str, lifetime_s: float = 3600) -> bytes:
    ends = datetime.fromtimestamp(time.time() + lifetime_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
        f"<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
        f"<SessionToken>T</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        f"</{action}Result></{action}Response>"
    ).encode()


def refusal(code: str) -> bytes:
    text = f"<Message>{IDENTITY}</Message>"
    return f"<ErrorResponse><Error><Code>{code}</Code>{text}</Error></ErrorResponse>".encode()


def variables(home: Path, server: ScriptedServer) -> dict[str, str]:
    (home / "token").write_text(IDENTITY + "\n")
    return {
        "HOME": str(home),
        "AWS_ENDPOINT_URL_STS": server.origin,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"),
        "AWS_ROLE_ARN": ROLE,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def asked(heard: Heard) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(heard.body.decode()).items()}


async def test_a_token_becomes_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(reply(200, document("AssumeRoleWithWebIdentity"))) as server:
        source = CredentialChain(variables(tmp_path, server), allow_metadata=False)
        found = await source.get()
        assert await source.get() is found
        (tmp_path / "token").write_text("another")
        assert await source.replace(found, is_certain=True) is None
    assert (found.access_key, found.secret_key, found.session_token) == ("ASIA1", SECRET, "T")
    assert found.expires_at_s is not None
    assert found.expires_at_s > time.time() + 3000
    first, second = server.heard
    assert (first.method, first.target) == ("POST", "/")
    assert asked(first) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "bucketfs",
        "WebIdentityToken": IDENTITY,
    }
    assert asked(second)["WebIdentityToken"] == "another", "the file is read each time"
    assert IDENTITY not in caplog.text
    assert SECRET not in caplog.text


async def test_keys_of_the_environment_go_first(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": SECRET}
    with ScriptedServer(reply(500)) as server:
        found = await CredentialChain({**variables(tmp_path, server), **keys}).get()
        assert found.access_key == "E"
        assert server.connections == 0


async def test_a_profile_may_name_the_token(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        f"[profile p]\nrole_arn={ROLE}\nweb_identity_token_file={tmp_path}/token\n"
        "role_session_name=me\n"
    )
    with ScriptedServer(reply(200, document("AssumeRoleWithWebIdentity"))) as server:
        environment = {**variables(tmp_path, server), "AWS_ROLE_ARN": ""}
        found = await CredentialChain(environment, profile="p").get()
    assert found.access_key == "ASIA1"
    assert asked(server.heard[0])["RoleSessionName"] == "me"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, refusal("ExpiredTokenException"), ConfigurationError, "ExpiredTokenException"),
        (403, refusal("AccessDenied"), ConfigurationError, "AccessDenied"),
        (400, refusal("IDPCommunicationError"), KeysUnavailable, "IDPCommunicationError"),
        (503, b"<html>", KeysUnavailable, "503"),
        (200, b"<html>", ConfigurationError, "no valid keys"),
        (200, b'<!DOCTYPE x [<!ENTITY a "b">]><a>&a;</a>', ConfigurationError, "no valid keys"),
    ],
)
async def test_a_refusal_is_said_without_the_token(
    tmp_path: Path, status: int, body: bytes, kind: type[BucketfsError], said: str
) -> None:
    with ScriptedServer(reply(status, body)) as server, pytest.raises(kind, match=said) as caught:
        await CredentialChain(variables(tmp_path, server), allow_metadata=False).get()
    assert IDENTITY not in f"{caught.value!r}{caught.value.__cause__!r}"


async def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    with ScriptedServer(reply(500)) as server:
        environment = variables(tmp_path, server)
        (tmp_path / "token").unlink()
        with pytest.raises(ConfigurationError, match="token cannot be read: No such file"):
            await CredentialChain(environment).get()


@pytest.fixture
def assuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a profile `p` that assumes a role by the keys of another profile."""
    (tmp_path / "config").write_text(
        f"[profile p]\nrole_arn={ROLE}\nsource_profile=q\nregion=us-east-1\n"
        f"[profile q]\naws_access_key_id=Q\naws_secret_access_key={SECRET}\n"
        f"[profile m]\nrole_arn={ROLE}\nsource_profile=q\nmfa_serial=x\n"
        "[profile gone]\nrole_arn=x\nsource_profile=nobody\n"
    )
    found = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


async def test_a_role_is_assumed_by_botocore(
    assuming: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(reply(200, document("AssumeRole", 600))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.origin)
        found = await CredentialChain(assuming, profile="p").get()
    assert (found.access_key, found.secret_key, found.session_token) == ("ASIA1", SECRET, "T")
    assert found.expires_at_s is not None
    assert 500 < found.expires_at_s - time.time() < 700
    assert asked(server.heard[0])["RoleArn"] == ROLE


async def test_a_role_that_may_not_be_assumed(
    assuming: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(reply(403, refusal("AccessDenied"))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.origin)
        with pytest.raises(KeysUnavailable, match="AccessDenied"):
            await CredentialChain(assuming, profile="p").get()


async def test_what_botocore_cannot_do_is_said_in_one_line(assuming: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="mfa_serial"):
        await CredentialChain(assuming, profile="m").get()
    with pytest.raises(ConfigurationError, match="nobody") as caught:
        await CredentialChain(assuming, profile="gone").get()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line", [f"role_arn={ROLE}", "sso_session=s", "sso_start_url=https://x.awsapps.com/start"]
)
async def test_a_profile_that_needs_botocore_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "config").write_text(f"[default]\n{line}\n")
    monkeypatch.setitem(sys.modules, "botocore", None)
    environment = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    with pytest.raises(ConfigurationError, match=r"pip install 'bucketfs\[aws\]'") as caught:
        await CredentialChain(environment, allow_metadata=False).get()
    assert line.partition("=")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
