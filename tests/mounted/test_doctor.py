"""`bucketfs doctor` says what is wrong, and its archive holds no secret."""

from __future__ import annotations

import json
import signal
import tarfile
from pathlib import Path

import pytest

from bucketfs.cli import checks
from tests.faults.proxy import faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounted.test_command_line import bucketfs
from tests.mounted.test_status import status
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


def unpacked(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as files:
        found = {name: files.extractfile(name) for name in files.getnames()}
        return {name.split("/")[1]: file.read() for name, file in found.items() if file}


@pytest.mark.mounted
def test_the_archive_has_what_a_bug_report_needs_and_no_secret(
    moto: RunningS3, tmp_path: Path
) -> None:
    url, options = f"s3://{moto.make_bucket()}", s3_options(moto)
    archive, secret = tmp_path / "report.tar.gz", moto.environment["AWS_SECRET_ACCESS_KEY"]
    with mounted(
        url,
        tmp_path,
        f"{options},debug,log_file={tmp_path / 'log'}",
        environment=moto.environment,
    ) as mount:
        (mount.path / "f").write_bytes(b"x")
        with (tmp_path / "log").open("a") as log:
            log.write(f"somebody wrote {secret} here\n")
        done = bucketfs("doctor", "--output", archive, mount.path, **moto.environment)
        again = bucketfs("doctor", "--output", archive, mount.path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert not [line for line in done.stdout.splitlines() if line.startswith("fail")]
    for words in ("ok   versions:", "ok   mount process:", "/dev/fuse", "ok   clock:"):
        assert words in done.stdout
    assert "the server's is" in done.stdout
    assert archive.stat().st_mode & 0o777 == 0o600
    files = unpacked(archive)
    names = {"checks.json", "versions.json", "settings.json", "stats.json", "inflight.json"}
    assert names | {"pending.json", "log.txt", "health.json"} <= files.keys()
    everything = b"".join(files.values())
    assert secret.encode() not in everything
    assert b"somebody wrote ***" in files["log.txt"]
    assert b"PUT " in files["log.txt"]
    assert json.loads(files["settings.json"])["url"] == url
    assert json.loads(files["stats.json"])["requests"]["write"]["requests"] >= 1
    assert again.returncode == 1
    assert "File exists" in again.stderr, "nothing is overwritten"


@pytest.mark.mounted
def test_what_failed_is_told_with_a_fix(moto: RunningS3, tmp_path: Path) -> None:
    with faulty(moto.endpoint) as proxy:
        options = s3_options(moto).replace(moto.endpoint, proxy.url)
        url = f"s3://{moto.make_bucket()}"
        with mounted(
            url, tmp_path, options, "timeout=1", "writeback", environment=moto.environment
        ) as mount:
            proxy.fail_always("503", "PUT")
            (mount.path / "f").write_bytes(b"data")
            wait_until(lambda: status(mount.path)[1][0]["failed_files"] == 1, limit_s=30)
            done = bucketfs("doctor", mount.path)
            proxy.heal()
    assert "warn unsaved files: 1 files wait, 1 of them failed" in done.stdout
    assert f"fix: bucketfs pending {mount.path}" in done.stdout
    assert "warn the store:" in done.stdout


@pytest.mark.mounted
def test_a_mount_that_hangs_or_is_dead_is_told(bucket_folder: Path, tmp_path: Path) -> None:
    with mounted(f"file://{bucket_folder}", tmp_path) as mount:
        mount.process.send_signal(signal.SIGSTOP)
        hung = bucketfs("doctor", mount.path)
        mount.process.kill()
        mount.process.wait()
        dead = bucketfs("doctor", "--json", mount.path)
    assert hung.returncode == 1
    assert "fail mount process: it does not answer" in hung.stdout
    (found,) = [row for row in json.loads(dead.stdout) if row["what"] == "mount process"]
    assert (dead.returncode, found["found"]) == (1, "it is gone")
    assert f"bucketfs umount {mount.path}" in found["fix"]


def test_a_bucket_is_examined_before_it_is_mounted(moto: RunningS3) -> None:
    url, options = f"s3://{moto.make_bucket()}", s3_options(moto)
    done = bucketfs("doctor", url, "-o", options, **moto.environment)
    assert done.returncode == 0, done.stdout
    assert "ok   rights: a mount has all that it needs" in done.stdout
    assert "credentials: of the environment AWS_ACCESS_KEY_ID" in done.stdout
    assert moto.environment["AWS_SECRET_ACCESS_KEY"] not in done.stdout
    done = bucketfs("doctor", f"{url}-none", "-o", options, **moto.environment)
    assert done.returncode == 1
    assert "fail bucket: " in done.stdout


def test_a_profile_is_examined_and_its_secrets_are_shown_nowhere(
    moto: RunningS3, tmp_path: Path
) -> None:
    key, secret = (
        moto.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    config, archive = tmp_path / "config.toml", tmp_path / "report.tar.gz"
    config.write_text(
        f'[box]\nurl = "s3://{moto.make_bucket()}"\nendpoint = "{moto.endpoint}"\n'
        f'access_key = "{key}"\nsecret_key = "{secret}"\ncredential_command = "sh {secret}"\n'
    )
    config.chmod(0o600)
    refused = bucketfs("doctor", "box", BUCKETFS_CONFIG=str(config))
    assert (refused.returncode, secret in refused.stderr) == (1, False)
    config.write_text(config.read_text().replace("credential_command", "crawler_names"))
    environment = {"BUCKETFS_CONFIG": str(config), "AWS_EC2_METADATA_DISABLED": "true"}
    done = bucketfs("doctor", "box", "--output", archive, **environment)
    shown = bucketfs("config", "show", "box", **environment)
    assert done.returncode == shown.returncode == 0, done.stdout
    assert f"credentials: of the profile box in {config}" in done.stdout
    assert "sh ***" in shown.stdout, "a secret that stands in an option, too"
    files = b"".join(unpacked(archive).values())
    assert secret not in done.stdout + done.stderr + shown.stdout
    assert secret.encode() not in files


def test_what_is_missing_on_the_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(checks, "FUSE_DEVICE", tmp_path / "fuse")
    found = {check.what: check for check in checks.machine()}
    assert found["fusermount3"].result == found["/dev/fuse"].result == checks.FAIL
    assert "fuse3" in found["fusermount3"].fix
    assert checks.clock(-3600.0).result == checks.FAIL
    assert checks.clock(2.0).result == checks.clock(None).result == checks.OK
