"""The mounts that are compared: how each is started, and when its data counts as stored."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from scripts.benchmark.servers import ACCESS_KEY, SECRET_KEY, Server

DURABLE_S = 300
MOUNT_S = 30


class Tool:
    """A mount of one bucket; subclasses say by which command."""

    def __init__(self, name: str, server: Server, folder: Path) -> None:
        self.name = name
        self.server = server
        self.folder = folder
        self.bucket = f"bench-{name}"
        self.mnt = folder / f"mnt-{name}"
        self.cache = folder / f"cache-{name}"
        self.s3: Any = server.client()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command that mounts in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the bucket and the mount point."""
        self.mnt.mkdir(parents=True, exist_ok=True)
        self.s3.create_bucket(Bucket=self.bucket)

    def mount(self, *, keeps_cache: bool = False) -> None:
        """Mount with cold caches: the kernel's, and the tool's own but where `keeps_cache`."""
        if not keeps_cache:
            shutil.rmtree(self.cache, ignore_errors=True)
        subprocess.run(["sync"], check=True)
        if os.geteuid() == 0:
            Path("/proc/sys/vm/drop_caches").write_text("3")
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                self.command(), env={**os.environ, **keys}, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_mounted(self.mnt, self._process)
        except TimeoutError as exc:
            log_text = (self.folder / f"{self.name}.log").read_text(errors="replace")
            raise SystemExit(f"{self.name} did not mount: {log_text[-1000:]}") from exc

    def unmount(self) -> None:
        """Unmount and wait until the process has ended."""
        deadline = time.monotonic() + 60
        while is_mounted(self.mnt) and time.monotonic() < deadline:
            subprocess.run(["fusermount3", "-u", self.mnt], capture_output=True, check=False)
            time.sleep(0.05)
        if self._process:
            self._process.wait(120)
            self._process = None

    def abandon(self) -> None:
        """End the mount whatever state it is in."""
        if is_mounted(self.mnt):
            subprocess.run(["fusermount3", "-uz", self.mnt], check=False)
        if self._process:
            self._process.kill()
            self._process.wait(30)

    def peak_memory_mib(self) -> float:
        """Return the most resident memory that the mount's processes ever had."""
        assert self._process is not None
        return max(_peak_kib(pid) for pid in _descendants(self._process.pid)) / 1024

    def etag(self, key: str) -> str | None:
        """Return an object's ETag."""
        answer: str = self.s3.head_object(Bucket=self.bucket, Key=key)["ETag"]
        return answer

    def wait_durable(self, key: str, size: int) -> None:
        """Wait until the bucket has `key` with `size` bytes."""
        _wait(lambda: self._size(key) == size, f"{key} of {size} bytes")

    def wait_count(self, prefix: str, count: int) -> None:
        """Wait until the bucket has `count` files below `prefix`."""
        _wait(lambda: self._count(prefix) >= count, f"{count} objects below {prefix}")

    def wait_changed(self, key: str, former: str | None) -> None:
        """Wait until the object is another version than `former`."""
        _wait(lambda: self.etag(key) != former, f"a new version of {key}")

    def _size(self, key: str) -> int:
        try:
            size: int = self.s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except self.s3.exceptions.ClientError:
            return -1
        return size

    def _count(self, prefix: str) -> int:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        return sum(not key.endswith("/") for key in keys)


class Rclone(Tool):
    """rclone mount with its write cache, which random writes need."""

    def command(self) -> list[str]:
        """Return the command."""
        keys = f"access_key_id={ACCESS_KEY},secret_access_key={SECRET_KEY}"
        remote = f":s3,provider=Minio,{keys},endpoint='{self.server.url}':{self.bucket}"
        cache = ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--cache-dir", self.cache]
        command = ["rclone", "mount", remote, self.mnt, *cache, "--config", "/dev/null"]
        return [*map(str, command), "--allow-other"]


class S3fs(Tool):
    """s3fs without a disk cache."""

    def command(self) -> list[str]:
        """Return the command; options that an older s3fs refuses are left out."""
        passwords = self.folder / "s3fs.passwords"
        passwords.write_text(f"{ACCESS_KEY}:{SECRET_KEY}")
        passwords.chmod(0o600)
        options = [f"url={self.server.url}", "use_path_request_style", f"passwd_file={passwords}"]
        options += ["allow_other", "use_xattr"]
        shown = subprocess.run(["s3fs", "--help"], capture_output=True, text=True, check=False)
        if "update_parent_dir_stat" in shown.stdout:
            options.append("update_parent_dir_stat")
        return ["s3fs", self.bucket, str(self.mnt), "-f", "-o", ",".join(options)]


class Juicefs(Tool):
    """juicefs mount: keeps chunks, not files, in the bucket; close uploads them."""

    def prepare(self) -> None:
        """Make the bucket and format a volume on it."""
        super().prepare()
        self._meta = f"sqlite3://{self.folder}/volume-{self.name}.db"
        keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--trash-days", "0"]
        store = ["--storage", "minio", "--bucket", f"{self.server.url}/{self.bucket}"]
        subprocess.run(
            ["juicefs", "format", *store, *keys, self._meta, "bench"],
            check=True,
            capture_output=True,
        )

    def command(self) -> list[str]:
        """Return the command."""
        flags = ["--no-usage-report", "--cache-dir", str(self.cache)]
        return ["juicefs", "mount", *flags, self._meta, str(self.mnt)]

    def etag(self, key: str) -> str | None:
        """Return None: there is no object of that key."""
        return None

    def wait_durable(self, key: str, size: int) -> None:
        """Return at once: close waited."""

    def wait_count(self, prefix: str, count: int) -> None:
        """Return at once: close waited."""

    def wait_changed(self, key: str, former: str | None) -> None:
        """Return at once: close waited."""


class Bucketfs(Tool):
    """bucketfs with its defaults; BUCKETFS_OPTS adds to the command."""

    def command(self) -> list[str]:
        """Return the command."""
        options = f"endpoint={self.server.url},region=us-east-1,addressing=path,allow_other"
        command = ["bucketfs", "mount", f"s3://{self.bucket}", str(self.mnt), "--foreground"]
        extra = os.environ.get("BUCKETFS_OPTS", "").split()
        return [*command, "-o", f"{options},cache_dir={self.cache}", *extra]


TOOLS: dict[str, type[Tool]] = {
    "rclone": Rclone,
    "s3fs": S3fs,
    "juicefs": Juicefs,
    "bucketfs": Bucketfs,
}


def version_of(name: str) -> str:
    """Return the first line of what a tool says of its version."""
    flag = "version" if name == "rclone" else "--version"
    shown = subprocess.run([name, flag], capture_output=True, text=True, check=False)
    return (shown.stdout or shown.stderr).splitlines()[0]


def wait_mounted(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has mounted at `path`. Raises: TimeoutError (it ended, or did not)."""
    deadline = time.monotonic() + MOUNT_S
    while not is_mounted(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"nothing was mounted at {path}")
        time.sleep(0.05)
    time.sleep(0.3)


def is_mounted(path: Path) -> bool:
    """Return whether the kernel's table has a mount at `path`."""
    wanted = str(path).replace(" ", "\\040")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == wanted for line in lines)


def _wait(is_done: Any, what: str) -> None:
    deadline = time.monotonic() + DURABLE_S
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in the bucket: {what}")
        time.sleep(0.01)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in _descendants(int(child)))]


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
