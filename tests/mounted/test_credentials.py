"""Keys that live for seconds under a mount that is at work: no operation may fail of it."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.emulators.cos.cloud import CosEmulator
from tests.emulators.serving import Emulator, serving
from tests.emulators.temporary import (
    Issuer,
    Keys,
    TemporaryBos,
    TemporaryS3,
    add_to_cos,
)
from tests.mounts.mounting import Mount, MountFailed, mounted
from tests.servers.s3_server import RunningS3

LIFETIME_S = 3.0
WORKERS = 3
LARGE_BYTES = 11 << 20
"""Two parts and a bit."""

pytestmark = pytest.mark.mounted
CLOUDS = ("s3", "cos", "bos")
LONG_S = pytest.param(30.0, marks=pytest.mark.campaign)

each_cloud = pytest.mark.parametrize("cloud", CLOUDS, indirect=True)


@dataclass
class Cloud:
    """A cloud that lets in whom `add` named, and its bucket."""

    scheme: str
    endpoint: str
    bucket: str
    add: Callable[[Keys], None]
    emulator: Emulator

    def count(self, method: str, name: str) -> int:
        """Return how many requests there were with `method` of keys that end with `name`."""
        asks = list(self.emulator.knobs.seen)
        return sum(ask.method == method and ask.key.endswith(name) for ask in asks)

    @property
    def url(self) -> str:
        """Return what is mounted."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options that lead a mount there, and let every look ask the cloud."""
        region = {"s3": "us-east-1", "cos": "ap-guangzhou", "bos": "bj"}[self.scheme]
        return (f"endpoint={self.endpoint}", f"region={region}", "ttl=0", "debug")


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A cloud with an empty bucket, which knows no keys yet."""
    emulator: Emulator
    add: Callable[[Keys], None]
    if request.param == "s3":
        moto: RunningS3 = request.getfixturevalue("moto")
        emulator = s3 = TemporaryS3(moto)
        add = s3.add
    elif request.param == "cos":
        emulator = cos = CosEmulator()
        add = add_to_cos(cos)
    else:
        emulator = bos = TemporaryBos()
        add = bos.add
    with serving(emulator) as endpoint:
        yield Cloud(request.param, endpoint, emulator.make_bucket(), add, emulator)


def environment(home: Path) -> dict[str, str]:
    """Return variables that name no keys."""
    names = ("AWS", "COS", "TENCENTCLOUD", "BCE")
    unset = {name: "" for name in os.environ if name.startswith(names)}
    return {**unset, "HOME": str(home)}


def command(folder: Path, url: str) -> str:
    """Return a command that asks an issuer for keys."""
    script = folder / "give-keys"
    script.write_text(
        f"#!{sys.executable} -IS\n"
        "import sys, urllib.request\n"
        f"sys.stdout.buffer.write(urllib.request.urlopen({url!r}).read())\n"
        "print('gave keys', file=sys.stderr)\n"
    )
    script.chmod(0o700)
    return str(script)


@dataclass
class Work:
    """Reads, writes and listings by some threads; what they did and what failed."""

    folder: Path
    done: int = 0
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def go_on_for(self, duration_s: float) -> None:
        """Work until then."""
        ends_s = time.monotonic() + duration_s
        workers = [
            threading.Thread(target=self._work, args=(number, ends_s), daemon=True)
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(duration_s + 60)
        assert not any(worker.is_alive() for worker in workers), "a worker hangs"

    def _work(self, number: int, ends_s: float) -> None:
        folder = self.folder / f"d{number}"
        self._do(folder.mkdir)
        for turn in itertools.count():
            if time.monotonic() > ends_s:
                return
            path, data = folder / f"f{turn}", os.urandom(5000 + turn)
            self._do(partial(path.write_bytes, data))
            self._do(partial(_read, path, data))
            self._do(partial(os.listdir, folder))
            self._do(lambda: list(self.folder.glob("*/*")))
            if turn % 4 == 0:
                self._do(partial(path.rename, path.with_suffix(".moved")))
            if turn % 8 == number:
                large = folder / "large"
                data = os.urandom(LARGE_BYTES)
                self._do(partial(large.write_bytes, data))
                self._do(partial(_read, large, data))
            if turn % 8 == 7:
                self._do(path.unlink)
            time.sleep(0.02)  # the machine is not to be the limit

    def _do(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as exc:
            with self._lock:
                self.failures.append(repr(exc))
        else:
            with self._lock:
                self.done += 1


def _read(path: Path, expected: bytes) -> None:
    """Read from the cloud, not from what the kernel has."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read() == expected


def assert_well(work: Work, mount: Mount, cloud: Cloud, issuer: Issuer, duration_s: float) -> None:
    """Check that nothing failed, keys were exchanged, and no secret is to be seen."""
    assert work.failures == [], mount.log_text()[-3000:]
    assert work.done > 10
    assert cloud.count("GET", "/large") > 0
    assert cloud.count("GET", "/f0") > 0
    assert len(issuer.issued) >= duration_s / LIFETIME_S
    assert mount.process.poll() is None
    arguments = Path(f"/proc/{mount.process.pid}/cmdline").read_bytes()
    assert_hidden(mount.log_text() + arguments.decode(), issuer)


def assert_hidden(text: str, issuer: Issuer) -> None:
    """Check that no secret and no token that was given out is in `text`."""
    for keys in issuer.issued:
        assert keys.secret_key not in text
        assert keys.token not in text


@pytest.mark.parametrize("duration_s", [12.0, LONG_S])
@pytest.mark.parametrize("says_end", [True, False], ids=["said", "unsaid"])
@each_cloud
def test_keys_of_a_command_that_live_for_seconds(
    cloud: Cloud, tmp_path: Path, says_end: bool, duration_s: float
) -> None:
    issuer = Issuer(cloud.add, lifetime_s=LIFETIME_S, says_end=says_end)
    with serving(issuer) as url:
        given = f"credential_command={command(tmp_path, url + '/keys')}"
        options = (*cloud.options, given)
        with mounted(cloud.url, tmp_path, *options, environment=environment(tmp_path)) as mount:
            work = Work(mount.path)
            work.go_on_for(duration_s)
            assert_well(work, mount, cloud, issuer, duration_s)
            assert "gave keys" in mount.log_text(), "what it says is in the log"
        assert "WARNING" not in mount.log_text()


FILES = {
    "s3": (
        ".aws/credentials",
        "[default]\naws_access_key_id={0}\naws_secret_access_key={1}\naws_session_token={2}\n",
    ),
    "cos": (".cos.conf", "[common]\nsecret_id={0}\nsecret_key={1}\ntoken={2}\n"),
    "bos": (".go-bcecli/credentials", "[Defaults]\nAk={0}\nSk={1}\nSts={2}\n"),
}


@contextmanager
def rotating(file: Path, layout: str, issuer: Issuer) -> Iterator[None]:
    """Write new keys into `file` twice in the life of one, as somebody who replaces it."""
    file.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        keys = issuer.issue()
        fresh = file.with_suffix(".new")
        fresh.write_text(layout.format(keys.access_key, keys.secret_key, keys.token))
        fresh.chmod(0o600)
        fresh.replace(file)

    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(LIFETIME_S / 2):
            write()

    write()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("duration_s", [7.0, LONG_S])
@pytest.mark.parametrize(
    ("cloud", "is_named"),
    [("s3", False), ("cos", False), ("bos", False), ("bos", True)],
    ids=["s3", "cos", "bos", "named"],
    indirect=["cloud"],
)
def test_a_file_that_is_written_anew(
    cloud: Cloud, tmp_path: Path, is_named: bool, duration_s: float
) -> None:
    issuer = Issuer(cloud.add, lifetime_s=LIFETIME_S)
    name, layout = FILES[cloud.scheme]
    options = cloud.options
    if is_named:
        name, layout = "keys", "access_key = {0}\nsecret_key = '{1}'\ntoken = \"{2}\"\n"
        options = (*options, f"credential_file={tmp_path / name}")
    with ExitStack() as stack:
        stack.enter_context(rotating(tmp_path / name, layout, issuer))
        mount = stack.enter_context(
            mounted(cloud.url, tmp_path, *options, environment=environment(tmp_path))
        )
        work = Work(mount.path)
        work.go_on_for(duration_s)
        assert_well(work, mount, cloud, issuer, duration_s)


def test_keys_that_end_before_there_are_others(tmp_path: Path) -> None:
    cos = CosEmulator()
    issuer = Issuer(add_to_cos(cos), lifetime_s=600)
    file = tmp_path / ".cos.conf"

    def write() -> Keys:
        keys = issuer.issue()
        file.write_text(FILES["cos"][1].format(keys.access_key, keys.secret_key, keys.token))
        return keys

    def exchange(old: Keys) -> None:
        for _ in range(2):
            time.sleep(3)
            del cos.accounts[old.access_key]
            time.sleep(1)
            old = write()

    exchanging = threading.Thread(target=exchange, args=(write(),), daemon=True)
    with serving(cos) as endpoint:
        cloud = Cloud("cos", endpoint, cos.make_bucket(), add_to_cos(cos), cos)
        options = cloud.options
        with mounted(cloud.url, tmp_path, *options, environment=environment(tmp_path)) as mount:
            exchanging.start()
            work = Work(mount.path)
            work.go_on_for(10.0)
            exchanging.join(10)
            assert_well(work, mount, cloud, issuer, 9.0)
            assert "there are no others yet" in mount.log_text()


MACHINES: dict[str, tuple[str, Callable[[Keys], str]]] = {
    "cos": (
        "TENCENTCLOUD_METADATA_ENDPOINT",
        lambda keys: json.dumps(
            {
                "TmpSecretId": keys.access_key,
                "TmpSecretKey": keys.secret_key,
                "Token": keys.token,
                "ExpiredTime": keys.ends_s,
                "Code": "Success",
            }
        ),
    ),
    "bos": (
        "BCE_METADATA_ENDPOINT",
        lambda keys: json.dumps(
            {
                "accessKeyId": keys.access_key,
                "secretAccessKey": keys.secret_key,
                "sessionToken": keys.token,
                "expiration": keys.ends,
            }
        ),
    ),
    "s3": (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        lambda keys: json.dumps(
            {
                "AccessKeyId": keys.access_key,
                "SecretAccessKey": keys.secret_key,
                "Token": keys.token,
                "Expiration": keys.ends,
            }
        ),
    ),
}


@pytest.mark.parametrize("duration_s", [7.0, LONG_S])
@each_cloud
def test_the_role_of_a_machine(cloud: Cloud, tmp_path: Path, duration_s: float) -> None:
    variable, layout = MACHINES[cloud.scheme]
    issuer = Issuer(cloud.add, lifetime_s=LIFETIME_S, answer_with=layout)
    with serving(issuer) as url:
        variables = {**environment(tmp_path), variable: url}
        with mounted(cloud.url, tmp_path, *cloud.options, environment=variables) as mount:
            work = Work(mount.path)
            work.go_on_for(duration_s)
            assert_well(work, mount, cloud, issuer, duration_s)


def test_a_command_that_fails_for_a_while(tmp_path: Path) -> None:
    cos = CosEmulator()
    issuer = Issuer(add_to_cos(cos), lifetime_s=LIFETIME_S)
    with serving(cos) as endpoint, serving(issuer) as url:
        cloud = Cloud("cos", endpoint, cos.make_bucket(), add_to_cos(cos), cos)
        inner = command(tmp_path, url + "/keys")
        script = tmp_path / "fails-each-second-time"
        script.write_text(
            f"#!/bin/sh\nif mkdir {tmp_path}/turn 2> /dev/null; then\n"
            f"  echo 'the vault is sealed' >&2; exit 3\nfi\nrmdir {tmp_path}/turn\nexec {inner}\n"
        )
        script.chmod(0o700)
        options = (*cloud.options, f"credential_command={script}")
        with mounted(cloud.url, tmp_path, *options, environment=environment(tmp_path)) as mount:
            work = Work(mount.path)
            work.go_on_for(12.0)
            assert_well(work, mount, cloud, issuer, 9.0)
        assert "the vault is sealed" in mount.log_text()
        assert "credential_command failed with exit status 3" in mount.log_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no >&2; exit 4", "credential_command failed with exit status 4"),
        ("echo '{}'", "credential_command gave no valid keys"),
    ],
)
def test_a_command_that_never_gives_keys(tmp_path: Path, script: str, said: str) -> None:
    path = tmp_path / "command"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    options = ("endpoint=http://127.0.0.1:9", "region=bj", f"credential_command={path}")
    with (
        pytest.raises(MountFailed, match=said),
        mounted("bos://bucket", tmp_path, *options, environment=environment(tmp_path)),
    ):
        pass
