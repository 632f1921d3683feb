"""`bucketfs probe` as a person and as a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bucketfs.cli import probing
from bucketfs.storage.interface import Capabilities
from bucketfs.storage.probing import Findings, Right, abilities


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bucketfs", "probe", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_folder(tmp_path: Path) -> None:
    done = run(f"file://{tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("list", "write", "read", "delete", "clock", "part copy", "largest object"):
        assert word in done.stdout
    assert [path for path in tmp_path.rglob("*probe*") if path.is_file()] == []


def test_a_driver_that_keeps_no_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box").mkdir()
    monkeypatch.setenv("LIBCLOUD_KEY", str(tmp_path))
    done = run("libcloud+local://box", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = {ability["name"]: ability for ability in json.loads(done.stdout)["abilities"]}
    lacking = ("metadata", "symlink", "ranged read", "part upload", "copy", "folder listing")
    assert [told[name]["native"] for name in lacking] == ["no"] * len(lacking)
    assert "forgotten" in told["metadata"]["mount"]
    assert list((tmp_path / "box").iterdir()) == []


def test_json() -> None:
    done = run("memory://name", "--json")
    document = json.loads(done.stdout)
    assert document["url"] == "memory://name"
    assert [right["verdict"] for right in document["rights"]] == ["yes"] * 4
    assert {"name", "native", "mount"} == set(document["abilities"][0])
    assert (document["skew_s"], document["left_key"]) == (0.0, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["file:///no/such/folder"], "cannot use file:///no/such/folder: there is no such bucket"),
        (["gs://b"], "the URL is one of"),
        (["memory://b", "-o", "memroy=1"], "did you mean 'memory=SIZE'"),
        (["s3://b", "-o", "domain=x"], "domain= means nothing to s3:"),
        (
            ["s3://b", "-o", "endpoint=http://127.0.0.1:1,timeout=1"],
            "cannot use s3://b: the store cannot be reached",
        ),
    ],
)
def test_a_failure_is_one_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ACCESSKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETKEY")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bucketfs: error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def found(
    monkeypatch: pytest.MonkeyPatch,
    *rights: Right,
    skew_s: float | None = 0.0,
    left_key: str | None = None,
) -> None:
    """Let the next probe find this."""
    findings = Findings(rights, abilities(Capabilities()), skew_s, left_key)
    monkeypatch.setattr(probing, "found", lambda settings: findings)


def probed(*options: str) -> int:
    return probing.probe_bucket("memory://b", options, is_json=False, is_debug=False)


def test_a_missing_right_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Right("list", "yes"), Right("write", "no", "403"), Right("read", "yes"))
    assert probed() == 1
    captured = capsys.readouterr()
    assert captured.err == "bucketfs: error: these credentials may not write: 403\n"
    assert "part copy" in captured.out


def test_a_read_only_mount_need_not_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Right("list", "yes"), Right("write", "no", "403"), Right("read", "yes"))
    assert probed("ro") == 0
    assert capsys.readouterr().err == ""


def test_what_was_left_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, Right("delete", "no", "403"), left_key="bucketfs-probe-1")
    assert probed() == 1
    assert "could not be deleted: bucketfs-probe-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("skew_s", "words"),
    [
        (0.0, "within 1 s"),
        (1200.0, "1200 s behind the store's"),
        (-90.0, "90 s ahead of the store's"),
        (None, "unknown"),
    ],
)
def test_the_clock(
    skew_s: float | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    found(monkeypatch, skew_s=skew_s)
    probed()
    assert words in capsys.readouterr().out
