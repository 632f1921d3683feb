"""What a person reads when keys, clocks, names or rights are wrong: one line that says it.

`bucketfs probe` goes the way that a mount goes before it begins.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from werkzeug.wrappers import Response

from bucketfs.cli.probing import probe_bucket
from bucketfs.errors import ConfigurationError
from tests.emulators.serving import Ask, Knobs, RunningEmulator, serving

CLOUDS = ("s3", "cos", "bos", "kodo")
EXPIRED = {
    "s3": (400, "ExpiredToken"),
    "cos": (403, "ExpiredToken"),
    "bos": (403, "InvalidSessionToken"),
    "kodo": (401, "expired token"),
}


def refusal(cloud: str, status: int, code: str) -> Response:
    """Return a refusal as this cloud words it."""
    if cloud in ("cos", "s3"):
        names = {"cos": "x-cos-request-id", "s3": "x-amz-request-id"}
        body = f"<Error><Code>{code}</Code><Message>m</Message><RequestId>ID</RequestId></Error>"
        return Response(body, status, {names[cloud]: "ID"}, "application/xml")
    fields = {"error": code} if cloud == "kodo" else {"code": code, "requestId": "ID"}
    headers = {"X-Reqid": "ID"} if cloud == "kodo" else {"x-bce-request-id": "ID"}
    return Response(json.dumps(fields), status, headers, "application/json")


class Stranger:
    """A server that nobody may ask."""

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.environment: dict[str, str] = {}

    def make_bucket(self) -> str:
        return ""

    def answer(self, ask: Ask) -> Response:
        return Response("a stranger was asked")


def writes(ask: Ask) -> bool:
    """Return whether a request changes something."""
    if ask.method in ("GET", "HEAD"):
        return False
    return not ask.path.startswith((b"/stat/", b"/v2/", b"/v4/"))


def lists(ask: Ask) -> bool:
    """Return whether a request lists, in any of the dialects."""
    names = {name for name, _ in ask.query}
    return ask.path == b"/list" or bool(names & {"max-keys", "maxKeys", "delimiter"})


@pytest.fixture(params=CLOUDS)
def cloud(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningEmulator]:
    """Each cloud, untouched, with its right keys in the environment."""
    running: RunningEmulator = request.getfixturevalue(
        "knobbed_s3" if request.param == "s3" else request.param
    )
    running.knobs.reset()
    monkeypatch.setenv("HOME", "/nonexistent")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    yield running
    running.knobs.reset()


def probed(cloud: RunningEmulator, bucket: str | None = None, *options: str) -> int:
    url = f"{cloud.name}://{bucket or cloud.make_bucket()}"
    given = [f"endpoint={cloud.endpoint}", "timeout=5", *options]
    return probe_bucket(url, given, is_json=False, is_debug=False)


def line(cloud: RunningEmulator, bucket: str | None = None) -> str:
    """Return the one line that a person reads, which holds no secret."""
    with pytest.raises(ConfigurationError) as caught:
        probed(cloud, bucket)
    said = str(caught.value)
    assert "\n" not in said
    assert not [value for value in cloud.environment.values() if len(value) > 12 and value in said]
    return said


def refuse(cloud: RunningEmulator, which: Callable[[Ask], bool], status: int, code: str) -> None:
    cloud.knobs.refuse = lambda ask: refusal(cloud.name, status, code) if which(ask) else None


def test_what_is_right(cloud: RunningEmulator) -> None:
    assert probed(cloud) == 0


def test_a_wrong_secret(cloud: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cloud.environment:
        if name.endswith(("SECRET_KEY", "SECRET_ACCESS_KEY")):
            monkeypatch.setenv(name, "not-the-secret-of-anybody")
    said = line(cloud)
    assert "these credentials may not use it" in said
    assert "not-the-secret-of-anybody" not in said


def test_an_unknown_key(cloud: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cloud.environment:
        if name.endswith(("SECRET_ID", "ACCESS_KEY_ID", "QINIU_ACCESS_KEY")):
            monkeypatch.setenv(name, "unknownkey")
    assert "these credentials may not use it" in line(cloud)


def test_no_keys_at_all(cloud: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cloud.environment:
        if "REGION" not in name:
            monkeypatch.delenv(name)
    said = line(cloud)
    assert any(name in said for name in cloud.environment)


@pytest.mark.parametrize("skew_s", [1200, -1200])
def test_a_clock_that_is_20_minutes_off(
    cloud: RunningEmulator,
    skew_s: float,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud.knobs.skew_s = skew_s
    if cloud.name == "s3":
        # That server's clock cannot be turned, so it is the signer's that is wrong.
        wrong = SimpleNamespace(time=lambda: time.time() - skew_s)
        monkeypatch.setattr("bucketfs.storage.s3.calls.time", wrong)
    if cloud.name == "cos" and skew_s > 0:
        # A signature for COS says from when to when it is good: 20 minutes late does no harm.
        assert probed(cloud) == 0
        assert "behind the store's" in " ".join(capsys.readouterr().out.split())
        return
    assert "clock of this machine is wrong" in line(cloud)


def test_an_expired_token(cloud: RunningEmulator) -> None:
    status, code = EXPIRED[cloud.name]
    refuse(cloud, lambda ask: True, status, code)
    said = line(cloud)
    assert "these credentials may not use it" in said
    assert any(word in said for word in ("expired", "have ended"))


def test_a_missing_bucket(cloud: RunningEmulator) -> None:
    assert "there is no such bucket" in line(cloud, "no-such-bucket-1250000000")


def test_a_bucket_of_another_region(
    cloud: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = cloud.make_bucket()
    if cloud.name == "cos":
        monkeypatch.setenv("COS_REGION", "ap-nowhere")
        assert "no such bucket in this region" in line(cloud, bucket)
    elif cloud.name == "s3":
        region = {"x-amz-bucket-region": "eu-west-1", "x-amz-request-id": "ID"}
        cloud.knobs.refuse = lambda ask: Response("", 301, region)
        assert "use -o region=eu-west-1" in line(cloud, bucket)
    elif cloud.name == "bos":
        elsewhere = Response("", 301, {"Location": "http://gz.example.com/"})
        cloud.knobs.refuse = lambda ask: elsewhere
        assert "region is wrong" in line(cloud, bucket)
    else:
        refuse(cloud, lambda ask: True, 400, "incorrect region, please use up-z1.qiniup.com")
        assert "incorrect region" in line(cloud, bucket)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_followed_by_nobody(cloud: RunningEmulator, status: int) -> None:
    """A signed request is not for strangers."""
    stranger = Stranger()
    with serving(stranger) as elsewhere:
        answer = Response("", status, {"Location": f"{elsewhere}/"})
        cloud.knobs.refuse = lambda ask: answer
        assert str(status) in line(cloud)
    assert stranger.knobs.seen == []


def test_no_right_to_list(cloud: RunningEmulator) -> None:
    refuse(cloud, lists, 403, "AccessDenied")
    assert "these credentials may not use it" in line(cloud)


def test_a_read_only_key(cloud: RunningEmulator, capsys: pytest.CaptureFixture[str]) -> None:
    bucket = cloud.make_bucket()
    refuse(cloud, writes, 403, "AccessDenied")
    assert probed(cloud, bucket) == 1
    assert "these credentials may not write" in capsys.readouterr().err
    assert probed(cloud, bucket, "ro") == 0
    assert capsys.readouterr().err == ""


def test_a_page_of_a_proxy(cloud: RunningEmulator) -> None:
    page = "<!DOCTYPE html><title>Sign in</title>"
    cloud.knobs.refuse = lambda ask: Response(page, 200, content_type="text/html")
    assert "cannot use" in line(cloud)


@pytest.mark.parametrize("status", [500, 503])
def test_a_cloud_that_is_ill(cloud: RunningEmulator, status: int) -> None:
    refuse(cloud, lambda ask: True, status, "InternalError")
    assert "the store cannot be reached" in line(cloud)


def test_torn_documents(cloud: RunningEmulator) -> None:
    def torn(ask: Ask, response: Response) -> Response:
        if lists(ask):
            response.set_data(response.get_data()[: len(response.get_data()) // 2])
        return response

    cloud.knobs.spoil = torn
    assert "cannot use" in line(cloud)
