"""A mounted S3 bucket beside boto3: what others do to it is seen, and what we do is as promised."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.faults.proxy import faulty
from tests.mounted.conftest import Place, s3_options, wait_until
from tests.mounts.mounting import error_of, mounted
from tests.servers.s3_server import RunningS3

MIB = 1 << 20


def content(path: Path) -> bytes | None:
    """Return the bytes of a file, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def test_a_file_is_one_object(place: Place) -> None:
    (place.path / "d").mkdir()
    path = place.path / "d" / "page.html"
    path.write_text("<p>")
    path.chmod(0o640)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    assert place.names() == ["d/", "d/page.html"]
    assert place.get("d/page.html") == b"<p>"
    answer = place.head("d/page.html")
    assert answer["ContentType"] == "text/html"
    metadata = answer["Metadata"]
    assert int(metadata["mode"]) == 0o100640
    assert metadata["mtime"] == "1600000000.987654321"
    assert metadata["atime"] == "1500000000.123456789"
    assert (metadata["uid"], metadata["gid"]) == (str(os.getuid()), str(os.getgid()))
    assert place.head("d/")["ContentLength"] == 0


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("a.json", "application/json"),
        ("A.PNG", "image/png"),
        ("no extension", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_extension(place: Place, name: str, content_type: str) -> None:
    (place.path / name).write_bytes(b"x")
    assert place.head(name)["ContentType"] == content_type
    (place.path / "other.css").write_bytes(b"x")
    (place.path / "other.css").rename(place.path / "other.html")
    assert place.head("other.html")["ContentType"] == "text/html"


def test_objects_of_boto3_appear_and_are_seen_changed(place: Place) -> None:
    assert os.listdir(place.path) == []
    assert not (place.path / "a").exists()
    path = place.path / "a" / "b" / "c.txt"
    place.put("a/b/c.txt", b"first")
    wait_until(lambda: content(path) == b"first")
    place.put("a/b/c.txt", b"another")
    wait_until(lambda: content(path) == b"another")
    assert path.stat().st_size == 7
    place.delete("a/b/c.txt")
    wait_until(lambda: not (place.path / "a").exists())
    assert os.listdir(place.path) == []


def test_a_replaced_object_of_the_same_size_is_seen(place: Place) -> None:
    path = place.path / "f"
    path.write_bytes(b"ours")
    assert path.read_bytes() == b"ours"
    place.put("f", b"THEM")
    wait_until(lambda: content(path) == b"THEM")


def test_a_reader_of_a_replaced_object_gets_estale(place: Place) -> None:
    size = 48 * MIB
    place.put("f", b"1" * size)
    wait_until((place.path / "f").exists)
    fd = os.open(place.path / "f", os.O_RDONLY)
    try:
        assert os.pread(fd, 4096, 0) == b"1" * 4096
        place.put("f", b"2" * size)
        assert error_of(_read_all_ones, fd, size) == "ESTALE"
    finally:
        os.close(fd)
    wait_until(lambda: (place.path / "f").open("rb").read(4096) == b"2" * 4096)


def _read_all_ones(fd: int, size: int) -> None:
    offset = 0
    while offset < size:
        data = os.pread(fd, MIB, offset)
        assert data, "the end came early"
        assert data.count(b"1") == len(data), "bytes of two versions"
        offset += len(data)


@pytest.mark.parametrize(("size", "offset"), [(4096, 0), (20 * MIB, 9 * MIB)])
def test_a_lost_update_is_refused(
    radosgw: RunningS3, tmp_path: Path, size: int, offset: int
) -> None:
    bucket = radosgw.make_bucket()
    client = radosgw.client()
    client.put_object(Bucket=bucket, Key="f", Body=b"base" * (size // 4))
    options = (s3_options(radosgw), "part_size=5M")
    with mounted(f"s3://{bucket}", tmp_path, *options, environment=radosgw.environment) as mount:
        fd = os.open(mount.path / "f", os.O_RDWR)
        os.pwrite(fd, b"ours" * 1024, offset)
        client.put_object(Bucket=bucket, Key="f", Body=b"theirs, and of another length")
        assert error_of(os.fsync, fd) == "ESTALE"
        assert os.pread(fd, 4096, offset) == b"ours" * 1024
        assert error_of(os.close, fd) == "ESTALE"
        with open(mount.path / "f", "rb") as file:
            assert os.pread(file.fileno(), 4096, offset) == b"ours" * 1024
        mount.kill()
    answer = client.get_object(Bucket=bucket, Key="f")
    assert answer["Body"].read() == b"theirs, and of another length"


def test_two_who_create_one_name(place: Place, tmp_path: Path) -> None:
    fd = os.open(place.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"ours")
    place.put("f", b"theirs")
    assert error_of(os.fsync, fd) == "ESTALE"
    assert error_of(os.close, fd) == "ESTALE"
    assert place.get("f") == b"theirs"
    (place.path / "f").unlink()


def test_directories_are_markers_and_may_be_implicit(place: Place, tmp_path: Path) -> None:
    place.put("implicit/inner/f", b"x")
    place.put("marked/")
    (place.path / "made").mkdir(mode=0o750)
    wait_until(lambda: sorted(os.listdir(place.path)) == ["implicit", "made", "marked"])
    assert os.listdir(place.path / "marked") == []
    (place.path / "implicit" / "inner" / "f").unlink()
    assert os.listdir(place.path / "implicit" / "inner") == []
    assert "implicit/inner/" in place.names()
    assert int(place.head("made/")["Metadata"]["mode"]) == stat.S_IFDIR | 0o750
    (place.path / "marked").rmdir()
    (place.path / "implicit" / "inner").rmdir()
    assert os.listdir(place.path / "implicit") == []
    assert place.names() == ["implicit/", "made/"]
    with place.remounted(tmp_path) as cold:
        assert sorted(os.listdir(cold.path)) == ["implicit", "made"]
        assert stat.S_IMODE((cold.path / "made").stat().st_mode) == 0o750


def test_a_rename_keeps_bytes_attributes_and_what_others_noted(place: Place) -> None:
    place.put(
        "theirs.txt",
        b"bytes",
        Metadata={"project": "apollo", "mode": str(0o100604)},
        CacheControl="max-age=60",
        ContentType="text/x-special",
        ContentEncoding="gzip",
    )
    wait_until((place.path / "theirs.txt").exists)
    assert (place.path / "theirs.txt").read_bytes() == b"bytes"
    (place.path / "theirs.txt").rename(place.path / "moved.txt")
    assert place.names() == ["moved.txt"]
    assert stat.S_IMODE((place.path / "moved.txt").stat().st_mode) == 0o604
    (place.path / "moved.txt").chmod(0o600)
    with open(place.path / "moved.txt", "ab") as file:
        file.write(b" and more")
    answer = place.head("moved.txt")
    assert answer["Metadata"]["project"] == "apollo"
    assert int(answer["Metadata"]["mode"]) & 0o777 == 0o600
    assert answer["CacheControl"] == "max-age=60"
    assert answer["ContentType"] == "text/x-special"
    assert answer["ContentEncoding"] == "gzip"
    assert place.get("moved.txt") == b"bytes and more"


def test_a_rename_of_a_tree(place: Place, tmp_path: Path) -> None:
    top = place.path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o700)
    for number in range(30):
        (top / "a" / f"f{number}").write_bytes(b"x" * number)
    (top / "a" / "b" / "deep").write_bytes(b"deep")
    (top / "a" / "b" / "deep").chmod(0o755)
    place.put("top/implicit/theirs", b"theirs", Metadata={"project": "apollo"})
    top.rename(place.path / "new")
    assert not top.exists()
    assert all(name.startswith("new/") for name in place.names())
    assert place.head("new/implicit/theirs")["Metadata"]["project"] == "apollo"
    with place.remounted(tmp_path) as cold:
        new = cold.path / "new"
        assert sorted(os.listdir(new)) == ["a", "empty", "implicit"]
        assert len(os.listdir(new / "a")) == 31
        assert (new / "a" / "f29").read_bytes() == b"x" * 29
        assert stat.S_IMODE((new / "a" / "b" / "deep").stat().st_mode) == 0o755
        assert stat.S_IMODE((new / "empty").stat().st_mode) == 0o700


def test_attributes_survive_a_remount(place: Place, tmp_path: Path) -> None:
    for name in ("clean", "dirty"):
        path = place.path / name
        with open(path, "wb") as file:
            file.write(b"bytes")
            if name == "clean":
                file.flush()
                os.fsync(file.fileno())
            os.chown(path, 1234, 2345)
            path.chmod(0o4711)
            os.setxattr(path, "user.note", b"\0\xff any bytes")
            os.utime(path, ns=(1_400_000_000_000_000_001, 1_300_000_000_000_000_002))
    (place.path / "folder").mkdir()
    (place.path / "folder").chmod(0o2751)
    os.setxattr(place.path / "folder", "user.note", b"on a directory")
    os.symlink("clean", place.path / "link")
    os.symlink("a/very/" + "long/" * 100 + "target", place.path / "dangling")
    os.mkfifo(place.path / "fifo", 0o604)
    os.mknod(place.path / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    before = attributes_of(place.path)
    with place.remounted(tmp_path) as cold:
        assert attributes_of(cold.path) == before
        assert os.readlink(cold.path / "link") == "clean"
        assert (cold.path / "link").read_bytes() == b"bytes"


def attributes_of(top: Path) -> dict[str, object]:
    """Return what is to survive of each entry: type, mode, owner, size, times, xattrs, target."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        is_link = path.is_symlink()
        noted = [] if is_link else [(n, os.getxattr(path, n)) for n in os.listxattr(path)]
        target = os.readlink(path) if is_link else None
        times = None if path.is_dir() else (state.st_mtime_ns, state.st_rdev)
        owner = (state.st_mode, state.st_uid, state.st_gid)
        found[path.relative_to(top).as_posix()] = (*owner, times, noted, target, state.st_size)
    return found


@pytest.fixture
def big(place: Place) -> tuple[Path, bytes]:
    """A file of 40 MiB and some, written by the mount."""
    data = os.urandom(MIB) * 40 + b"the end"
    path = place.path / "big"
    with open(path, "wb") as file:
        for offset in range(0, len(data), MIB):
            file.write(data[offset : offset + MIB])
    return path, data


def test_a_large_file_is_sent_by_parts(place: Place, big: tuple[Path, bytes]) -> None:
    path, data = big
    assert place.head("big")["ETag"].strip('"').endswith("-6"), "parts of 8 MiB"
    assert place.get("big") == data
    assert path.read_bytes() == data
    assert not place.client.list_multipart_uploads(Bucket=place.bucket).get("Uploads")


def test_an_edit_of_a_large_file_sends_what_changed(
    place: Place, big: tuple[Path, bytes], tmp_path: Path
) -> None:
    _, data = big
    with faulty(place.server.endpoint) as proxy:
        options = f"endpoint={proxy.url}"
        with (
            place.remounted(tmp_path, options) as mount,
            open(mount.path / "big", "r+b") as file,
        ):
            file.seek(20 * MIB)
            file.write(b"changed")
        uploads = [path for method, path in proxy.seen if method == "PUT"]
    expected = data[: 20 * MIB] + b"changed" + data[20 * MIB + 7 :]
    assert place.get("big") == expected
    assert proxy.received_bytes < 17 * MIB, "the rest was to be copied on the server"
    assert len(uploads) <= 6, uploads


@pytest.mark.parametrize("size", [0, 5, 9 * MIB, 33 * MIB, 50 * MIB])
def test_a_large_file_is_cut_and_grown(place: Place, big: tuple[Path, bytes], size: int) -> None:
    path, data = big
    os.truncate(path, size)
    expected = data[:size].ljust(size, b"\0")
    assert place.get("big") == expected
    with open(path, "r+b") as file:
        file.truncate(size // 2)
        file.seek(0, os.SEEK_END)
        file.write(b"appended")
    assert place.get("big") == expected[: size // 2] + b"appended"


def test_a_sparse_file(place: Place) -> None:
    path = place.path / "sparse"
    with open(path, "wb") as file:
        file.seek(30 * MIB)
        file.write(b"end")
        file.seek(7)
        file.write(b"start")
    expected = (bytes(7) + b"start").ljust(30 * MIB, b"\0") + b"end"
    assert place.get("sparse") == expected
    assert path.read_bytes() == expected


def test_more_files_than_a_page_of_a_listing(place: Place, tmp_path: Path) -> None:
    folder = place.path / "many"
    folder.mkdir()
    names = [f"f{n:04d}" for n in range(1100)]

    def put(own: list[str]) -> None:
        for name in own:
            place.put(f"many/{name}", name.encode())

    threads = [threading.Thread(target=put, args=(names[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(os.listdir(folder)) == 1100)
    assert sorted(os.listdir(folder)) == names
    assert (folder / "f1099").read_bytes() == b"f1099"
    with place.remounted(tmp_path) as cold:
        found = {entry.name: entry.stat().st_size for entry in os.scandir(cold.path / "many")}
    assert found == dict.fromkeys(names, 5)


ODD_NAMES = [
    "with space",
    " around ",
    "percent%2Fplus+and&equal=",
    "ünïcödé 日本 🌍",
    "new\nline",
    "tab\t",
    "quote'\"`$(x)<>",
    "back\\slash",
    "#hash?query;colon:",
    "...",
    "~tilde!*()@,",
    "x" * 255,
]


def test_odd_names(place: Place, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        (place.path / "d" / name).mkdir(parents=True)
        (place.path / name).write_text(name)
        (place.path / "d" / name / name).write_text(name)
    listed = {name for name in place.names() if not name.startswith("d/")}
    assert listed == set(ODD_NAMES)
    with place.remounted(tmp_path) as cold:
        assert set(os.listdir(cold.path)) == {"d", *ODD_NAMES}
        for name in ODD_NAMES:
            assert (cold.path / "d" / name / name).read_text() == name
            (cold.path / "d" / name).rename(cold.path / "renamed")
            (cold.path / name).rename(cold.path / "renamed" / name)
            assert place.get(f"renamed/{name}").decode() == name
            (cold.path / "renamed" / name).unlink()
            (cold.path / "renamed").rmdir()
    assert set(place.names()) == {"d/"}


def test_a_name_that_the_server_refuses_is_an_error_of_that_name(place: Place) -> None:
    name = os.fsencode(place.path) + b"/not utf-8 \xff\xfe"
    assert error_of(os.mkdir, name) in ("EINVAL", "EILSEQ", "ok")
    assert error_of(os.stat, name) in ("ENOENT", "EINVAL", "EILSEQ", "ok")
    (place.path / "f").write_bytes(b"goes on")
    assert place.get("f") == b"goes on"


def test_keys_that_are_no_paths_can_be_reached(place: Place, tmp_path: Path) -> None:
    keys = {
        "a//b": b"an empty name",
        "marked/": b"a marker with content",
        "marked/f": b"below it",
        "both": b"a file beside a directory of its name",
        "both/f": b"below it",
        "up/../f": b"dots",
        "./f": b"a dot",
        "/f": b"an empty name first",
        "k" * 300: b"a long name",
    }
    for name, body in keys.items():
        place.put(name, body)
    with place.remounted(tmp_path, "ttl=60") as cold:
        found = sorted(path.read_bytes() for path in cold.path.rglob("*") if path.is_file())
        assert found == sorted(body for name, body in keys.items() if not name.endswith("/"))
        outside = cold.path.parent / "f"
        assert not outside.exists()
        assert (cold.path / "both" / "f").read_bytes() == b"below it"
        assert (cold.path / "marked" / "f").read_bytes() == b"below it"
        for path in sorted(cold.path.rglob("*"), reverse=True):
            if path.is_file():
                path.unlink()
    assert all(name.endswith("/") for name in place.names()), "all of them could be removed"


def test_two_mounts_see_each_other(place: Place, tmp_path: Path) -> None:
    with place.remounted(tmp_path) as other:
        assert os.listdir(other.path) == []
        (place.path / "d").mkdir()
        (place.path / "d" / "f").write_bytes(b"first")
        wait_until(lambda: content(other.path / "d" / "f") == b"first")
        (other.path / "d" / "f").write_bytes(b"by the other")
        wait_until(lambda: content(place.path / "d" / "f") == b"by the other")
        (place.path / "d" / "f").rename(place.path / "d" / "g")
        wait_until(lambda: os.listdir(other.path / "d") == ["g"])
        (other.path / "d" / "g").chmod(0o600)
        wait_until(lambda: (place.path / "d" / "g").stat().st_mode & 0o777 == 0o600)
        (other.path / "d" / "g").unlink()
        (other.path / "d").rmdir()
        wait_until(lambda: not (place.path / "d").exists())


def test_a_prefix_mount_is_its_own_root(place: Place, tmp_path: Path) -> None:
    place.put("outside", b"0")
    place.put("deep/inside", b"1")
    wait_until((place.path / "deep").is_dir)
    deep = Place(place.server, place.bucket, place.prefix + "deep/", place.path, place.client)
    with deep.remounted(tmp_path) as mount:
        assert os.listdir(mount.path) == ["inside"]
        (mount.path / "new").write_bytes(b"2")
    assert place.get("deep/new") == b"2"
    assert sorted(place.names()) == ["deep/inside", "deep/new", "outside"]


def test_a_real_tree_on_a_cold_mount(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    real = next(path for path in (Path("/usr/share/perl5"), Path("/etc")) if path.is_dir())
    run("cp", "-a", real, source)
    for path in sorted(path for path in source.rglob("*") if path.is_file())[150:]:
        path.unlink()
    (source / "links").mkdir()
    os.symlink("../links", source / "links" / "self")
    os.symlink("dangling", source / "links" / "nowhere")
    run("rsync", "-a", f"{source}/", place.path / "copy")
    with place.remounted(tmp_path) as cold:
        copy = cold.path / "copy"
        assert run("rsync", "-ai", f"{source}/", f"{copy}/") == ""
        run("diff", "-r", "--no-dereference", source, copy)
        assert sorted(run("find", ".", "-type", "l", cwd=copy).split()) == sorted(
            run("find", ".", "-type", "l", cwd=source).split()
        )
        run("tar", "cf", tmp_path / "tree.tar", "-C", copy, ".")
    (tmp_path / "out").mkdir()
    run("tar", "xf", tmp_path / "tree.tar", "-C", tmp_path / "out")
    run("diff", "-r", "--no-dereference", source, tmp_path / "out")


def test_a_git_clone(place: Place, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    run("git", "init", "-q", origin)
    for number in range(20):
        (origin / f"file{number}").write_text(f"{number}\n" * 100)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "first", cwd=origin)
    run("git", "clone", "-q", origin, place.path / "clone")
    with place.remounted(tmp_path) as cold:
        clone = cold.path / "clone"
        (clone / "file3").write_text("changed\n")
        run("git", *identity, "commit", "-qam", "second", cwd=clone)
        run("git", "fsck", "--strict", cwd=clone)
        assert run("git", "status", "--porcelain", cwd=clone) == ""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-1500:]}"
    return done.stdout
