"""The units of systemd: what they say, that systemd reads it so, and how exposed they leave us."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bucketfs.cli.units import template, unit, write_unit
from bucketfs.errors import ConfigurationError

FOLDER = Path(__file__).parents[3] / "systemd"
NAMESPACES = re.compile(
    r"^(ProtectSystem|ProtectHome|ProtectProc|ProtectKernel\w+|ProtectControlGroups|Private\w+|"
    r"ReadOnlyPaths|InaccessiblePaths|ReadWritePaths|BindPaths|TemporaryFileSystem|RootDirectory|"
    r"ProcSubset|DynamicUser|MountFlags)=",
    re.MULTILINE,
)
"""Each of them gives a service a mount namespace of its own, see systemd.exec(5)."""
HIGHEST_EXPOSURE = 4.6


def test_the_units_of_the_sources_are_those_of_the_program() -> None:
    assert (FOLDER / "bucketfs@.service").read_text() == template()
    assert (FOLDER / "user" / "bucketfs@.service").read_text() == template(is_user=True)


def test_odd_names_reach_the_program_as_they_are(tmp_path: Path) -> None:
    text = unit("a", 'cos://b-1/a b%i$X#";\\', tmp_path / "m%n t", ["region=x,uid=5"])
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert r'mount "cos://b-1/a b%%i$$X#\";\\" ' in line
    assert line.endswith(
        f' "{tmp_path}/m%%n t" --foreground -o '
        "mount_timeout=5m,cache_dir=/var/cache/bucketfs/a,region=x,uid=5"
    )


def test_what_the_options_say_is_not_said_twice(tmp_path: Path) -> None:
    text = unit("a", "cos://b-1", tmp_path, [f"mount_timeout=1,cache_dir={tmp_path}"])
    assert f"-o mount_timeout=1,cache_dir={tmp_path}\n" in text


def test_a_profile_is_mounted_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[web]\nurl = "cos://b-1"\nmountpoint = "{tmp_path}/m"\ncache_dir = "/c"\n'
        '[bare]\nurl = "cos://b-2"\n'
    )
    monkeypatch.setenv("BUCKETFS_CONFIG", str(config))
    text = unit("web", None, None, [])
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert line.endswith(" mount web --foreground -o mount_timeout=5m"), "it has a cache folder"
    assert f"Environment=BUCKETFS_CONFIG={config}\n" in text
    assert f"RequiresMountsFor={tmp_path}\n" in text
    text = unit("other", "bare", tmp_path / "m", ["ro"])
    assert f" mount bare {tmp_path}/m --foreground -o mount_timeout=5m,cache_dir=" in text
    for wrong in ("bare", "none"):
        with pytest.raises(ConfigurationError):
            unit(wrong, None, None, [])


@pytest.mark.parametrize(
    ("name", "url", "options"),
    [
        ("a/b", "cos://b-1", []),
        ("-a", "cos://b-1", []),
        ("a", "ftp://x", []),
        ("a", "s3://b", ["x"]),
    ],
)
def test_what_cannot_be_mounted_gets_no_unit(
    tmp_path: Path, name: str, url: str, options: list[str]
) -> None:
    with pytest.raises(ConfigurationError):
        write_unit(name, url, tmp_path / "m", options, tmp_path / "units", is_user=False)
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize("is_user", [False, True])
def test_writing_says_how_it_is_enabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_user: bool
) -> None:
    write_unit("web", "cos://b-1", tmp_path / "m", [], tmp_path / "units", is_user=is_user)
    assert [path.name for path in (tmp_path / "units").iterdir()] == ["bucketfs@web.service"]
    said = capsys.readouterr().out
    assert f"systemctl{' --user' if is_user else ''} enable --now bucketfs@web\n" in said


def test_no_line_hides_the_mount_from_others() -> None:
    for text in (template(), template(is_user=True)):
        assert NAMESPACES.findall(text) == []
    # A user's fusermount3 is setuid; all of these imply NoNewPrivileges=yes there.
    implying = (
        "NoNewPrivileges",
        "SystemCallFilter",
        "RestrictNamespaces",
        "MemoryDenyWriteExecute",
    )
    assert not re.search(rf"^({'|'.join(implying)})=", template(is_user=True), re.MULTILINE)


def analyze(*arguments: str | Path, runtime: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here: install systemd")
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)},
    )


@pytest.mark.parametrize("is_user", [False, True])
def test_systemd_understands_the_services(tmp_path: Path, is_user: bool) -> None:
    texts = {
        "bucketfs@.service": re.sub(
            r"[^=\s]+/bin/bucketfs", "/bin/true", template(is_user=is_user)
        ),
        "bucketfs@web.service": unit("web", "cos://b-1", tmp_path / "m n", [], is_user=is_user),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        scope = "--user" if is_user else "--system"
        done = analyze(scope, "--man=no", "verify", tmp_path / name, runtime=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_systemd_understands_the_examples_of_mount_units(tmp_path: Path) -> None:
    for name in ("mnt-bucket.mount", "mnt-bucket.automount"):
        shutil.copy(FOLDER / name, tmp_path)
    for name in ("mnt-bucket.mount", "mnt-bucket.automount"):
        done = analyze("--man=no", "verify", tmp_path / name, runtime=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_not_more_exposed_than_it_has_to_be(tmp_path: Path) -> None:
    path = tmp_path / "bucketfs@web.service"
    path.write_text(unit("web", "cos://b-1", tmp_path / "m", []))
    threshold = f"--threshold={int(HIGHEST_EXPOSURE * 10)}"
    done = analyze("security", "--offline=yes", threshold, path, runtime=tmp_path)
    assert done.returncode == 0, done.stdout[-200:]


def test_an_fstab_line_becomes_the_unit_that_is_wanted(tmp_path: Path) -> None:
    """systemd's own generator reads the line that docs/operations.md shows."""
    generator = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")
    if not generator.exists():
        pytest.skip("systemd's generator is not here: install systemd")
    documents = (FOLDER.parent / "docs" / "operations.md").read_text("utf-8")
    (line,) = re.findall(r"^cos://.* bucketfs .*x-systemd.*$", documents, re.MULTILINE)
    (tmp_path / "fstab").write_text(line.replace("cos://b-125 ", r"cos://b-125/a\040b#c?d ") + "\n")
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run(
        [generator, made, made, made], check=True, env={"SYSTEMD_FSTAB": str(tmp_path / "fstab")}
    )
    text = (made / "mnt-bucket.mount").read_text()
    assert "What=cos://b-125/a b#c?d\n" in text
    assert "Type=bucketfs\n" in text
    assert "TimeoutSec=" in text
    assert (made / "mnt-bucket.automount").exists()
    assert (made / "remote-fs.target.wants" / "mnt-bucket.automount").is_symlink()
