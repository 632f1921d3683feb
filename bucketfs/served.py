"""What a mount tells, and does, when its control socket asks; a `control.Served`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from bucketfs import __version__
from bucketfs.control import Report
from bucketfs.counting import causes
from bucketfs.fuse.supervising import Supervised
from bucketfs.fuse.warming import WarmUp
from bucketfs.settings import MountSettings, mask_url

if TYPE_CHECKING:
    from bucketfs.mount import Layers


class Mounted:
    """A mount as its control socket sees it; a `control.Served`."""

    def __init__(self, settings: MountSettings, layers: Layers) -> None:
        self._settings = settings
        self._layers = layers
        self.hurry = layers.drainer.hurry
        self.ending = layers.drainer.door.shut

    def report(self, path: Sequence[str] = ()) -> Report:
        """Return what the mount says of itself; what is left is that at and below a path."""
        return report(self._settings, self._layers, path)

    def pending(self) -> list[Report]:
        """Return what is not in the bucket, one object a file."""
        return [asdict(file) for file in self._layers.pending.files()]

    async def save(self, path: Sequence[str] = ()) -> list[Report]:
        """Save what is at and below a path; return what could not be saved."""
        with causes.acting(causes.own("sync")):
            return [asdict(failure) for failure in await self._layers.drainer.save_all(path)]

    def warming(self, paths: Sequence[Sequence[str]]) -> WarmUp | None:
        """Return a warm-up of what is at and below paths; None: there is no disk cache."""
        warmer = self._layers.pages.warmer()
        if warmer is None:
            return None
        return WarmUp(self._layers.tree, warmer, paths, concurrency=self._settings.concurrency)

    def statistics(self) -> Report:
        """Return all that was counted since the mount."""
        return statistics(self._settings, self._layers)

    def supervised(self) -> Supervised:
        """Return what a service manager is told."""
        drainer = self._layers.drainer
        files, left_bytes = drainer.left()
        amount = f"{files} {'file' if files == 1 else 'files'} ({left_bytes >> 20} MiB)"
        if drainer.door.is_shut:
            sent_bytes = int(self._layers.pages.statistics()["sent_bytes"])
            progress = (files, left_bytes, sent_bytes)
            return Supervised(f"saving {amount} into the bucket", progress, is_ending=True)
        return Supervised(f"{amount} not in the bucket yet" if files else "all is in the bucket")


def report(settings: MountSettings, layers: Layers, path: Sequence[str] = ()) -> Report:
    """Return what the control socket tells of this mount; what is left at and below a path."""
    files, left_bytes = layers.drainer.left(path)
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": mask_url(settings.url),
        "mountpoint": os.fspath(settings.mountpoint),
        "cache_folder": os.fspath(settings.cache_folder),
        "dirty_files": files,
        "dirty_bytes": left_bytes,
        "open_handles": len(layers.handles),
        "in_flight": layers.in_flight.report(),
        "statistics": dict(layers.pages.statistics()),
    }


def statistics(settings: MountSettings, layers: Layers) -> Report:
    """Return what `bucketfs stats` shows of this mount."""
    held = dict(layers.pages.statistics())
    memory, meter = layers.pages.memory, layers.statistics.meter
    budgets = {
        "memory_bytes": {"used": memory.used_bytes, "limit": memory.limit_bytes},
        "disk_bytes": {"used": held["spilled_bytes"], "limit": settings.disk_bytes},
        # Reads and all else have lanes of their own.
        **_disk_cache(settings, held),
        "requests": {"used": meter.in_flight, "limit": 2 * settings.concurrency},
    }
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": mask_url(settings.url),
        "mountpoint": os.fspath(settings.mountpoint),
        **layers.statistics.report(layers.in_flight.calls, budgets),
        "pages": held,
    }


def _disk_cache(settings: MountSettings, held: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return what the disk cache takes, where there is one."""
    if "cached_bytes" not in held:
        return {}
    used = held["cached_bytes"]
    return {"read_cache_bytes": {"used": used, "limit": settings.read_cache_bytes}}
