"""What a mount tells, and does, when its control socket asks; a `control.Served`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from bucketfs import __version__, logs
from bucketfs.control import Answer, ControlServer, Report
from bucketfs.control.metrics import serve_metrics
from bucketfs.counting import causes
from bucketfs.counting.openmetrics import CONTENT_TYPE, exposition
from bucketfs.errors import ConfigurationError
from bucketfs.fuse.supervising import Supervised
from bucketfs.fuse.warming import WarmUp
from bucketfs.fuse.watching import Watcher
from bucketfs.namespace.nodes import Inode
from bucketfs.settings import MountSettings, mask_url

if TYPE_CHECKING:
    from bucketfs.layers import Layers


class Mounted:
    """A mount as its control socket sees it; a `control.Served`."""

    def __init__(self, settings: MountSettings, layers: Layers) -> None:
        self._settings = settings
        self._layers = layers
        self.hurry = layers.drainer.hurry
        self.ending = layers.drainer.door.shut
        self._watcher = Watcher(
            layers.in_flight,
            layers.statistics.underway,
            layers.statistics.programs,
            layers.tree,
            layers.handles,
        )
        self.answers: dict[str, Answer] = {
            "stats": self._statistics,
            "health": self._health,
            "info": self._info,
            "inflight": self._in_flight,
            "log": self._log,
            "settings": self._shown_settings,
        }

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

    async def _statistics(self, details: Mapping[str, Any]) -> Report:
        has_histograms = bool(details.get("has_histograms"))
        return statistics(self._settings, self._layers, has_histograms=has_histograms)

    async def _health(self, details: Mapping[str, Any]) -> Report:
        return health(self._settings, self._layers)

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

    async def _in_flight(self, details: Mapping[str, Any]) -> Report:
        return self._watcher.report()

    async def start(self, nursery: trio.Nursery, control: ControlServer) -> None:
        """Begin to answer: commands, and collectors of metrics if there are to be any.

        Raises: ConfigurationError (the address of the metrics).
        """
        await nursery.start(control.serve)
        if self._settings.metrics is not None:
            await nursery.start(serve_metrics, self._settings.metrics, CONTENT_TYPE, self.metrics)

    def metrics(self) -> str:
        """Return what is counted as OpenMetrics text."""
        counted = statistics(self._settings, self._layers, has_histograms=True)
        return exposition(counted, health(self._settings, self._layers))

    async def _shown_settings(self, details: Mapping[str, Any]) -> Report:
        return self._settings.shown(logs.mask().hide)

    async def _log(self, details: Mapping[str, Any]) -> Report:
        """Tell of the log, after its level was changed where that was asked for."""
        level = details.get("level")
        if level is not None:
            try:
                logs.set_level(str(level))
            except ValueError as exc:
                raise ConfigurationError(str(exc)) from exc
        return logs.state(int(details.get("after", 0)))

    async def _info(self, details: Mapping[str, Any]) -> Report:
        node = self._layers.tree.node(Inode(int(details["inode"])))
        with causes.acting(causes.own("info")):
            return await self._layers.describer.description(node)


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


def health(settings: MountSettings, layers: Layers) -> Report:
    """Return what `bucketfs status` shows of this mount."""
    counted = layers.statistics
    return {
        **report(settings, layers),
        "uptime_s": round(counted.uptime_s, 3),
        "failed_files": layers.pending.failed(),
        "errors": {"store_failures": counted.meter.failures},
        "budgets": budgets(settings, layers),
        "clock_skew_s": counted.meter.clock_skew_s(),
    }


def statistics(settings: MountSettings, layers: Layers, *, has_histograms: bool = False) -> Report:
    """Return what `bucketfs stats` shows of this mount."""
    counted, calls = layers.statistics, layers.in_flight.calls
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": mask_url(settings.url),
        "mountpoint": os.fspath(settings.mountpoint),
        **counted.report(calls, budgets(settings, layers), has_histograms=has_histograms),
        "pages": dict(layers.pages.statistics()),
    }


def budgets(settings: MountSettings, layers: Layers) -> dict[str, dict[str, int]]:
    """Return what is in use of each budget, and its limit."""
    held = layers.pages.statistics()
    memory, meter = layers.pages.memory, layers.statistics.meter
    return {
        "memory_bytes": {"used": memory.used_bytes, "limit": memory.limit_bytes},
        "disk_bytes": {"used": held["spilled_bytes"], "limit": settings.disk_bytes},
        # Reads and all else have lanes of their own.
        **_disk_cache(settings, held),
        "requests": {"used": meter.in_flight, "limit": 2 * settings.concurrency},
    }


def _disk_cache(settings: MountSettings, held: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return what the disk cache takes, where there is one."""
    if "cached_bytes" not in held:
        return {}
    used = held["cached_bytes"]
    return {"read_cache_bytes": {"used": used, "limit": settings.read_cache_bytes}}
