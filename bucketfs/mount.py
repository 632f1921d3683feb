"""Composition root: builds the layers of one mount, owns the one nursery, drains, tears down.

Everything that can be wrong before mounting (bucket, credentials, mount point, cache folder) fails
here as an exception of errors.py, so that the command line can say it in one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import trio

from bucketfs import __version__
from bucketfs.control import ControlServer, Report
from bucketfs.errors import ConfigurationError
from bucketfs.fuse.boundary import InFlightTable, unwrapped
from bucketfs.fuse.draining import Drainer
from bucketfs.fuse.handles import Handles
from bucketfs.fuse.operations import Operations
from bucketfs.fuse.session import Session, check_mountpoint, end_on_signal, mount_options
from bucketfs.namespace.attributes import Defaults
from bucketfs.namespace.finder import AttributesPolicy, Finder
from bucketfs.namespace.tree import Tree
from bucketfs.pagecache.cache import PageCache
from bucketfs.settings import MountSettings, mask_url
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.opening import StoreOptions, open_store

log = logging.getLogger(__name__)

FINAL_ROUNDS = 3
"""How often the end of the mount tries to save what failed; each try has the store's retries."""
PAUSE_BETWEEN_ROUNDS_S = 2.0
CLOSING_S = 10.0
_M_ARENA_MAX = -8
"""mallopt(3) of glibc."""
_ARENAS = 2
"""Measured with 100 open files and memory=128M: 216 MB resident instead of 319 with one arena for
each thread, since bytes received by one thread are freed by another."""


async def run_mount(settings: MountSettings, ready: Callable[[], None]) -> int:
    """Mount, call `ready` once the mount answers, serve until it is unmounted; return exit status.

    0: everything is in the bucket; 1: something could not be saved (the log names it).
    Raises: BucketfsError before `ready`, where the mount could not begin.
    """
    _bound_arenas()
    status = 1
    try:
        async with trio.open_nursery() as nursery:
            status = await _mount(settings, ready, nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise unwrapped(group) from None
    return status


def _bound_arenas() -> None:
    """Keep malloc from holding far more memory than is in use; other C libraries need no such."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one mount, from the kernel down."""

    operations: Operations
    in_flight: InFlightTable
    handles: Handles
    drainer: Drainer
    pages: PageCache


async def _mount(settings: MountSettings, ready: Callable[[], None], nursery: trio.Nursery) -> int:
    await check_mountpoint(settings.mountpoint)
    _check_no_loop(settings)
    store = await open_store(settings.url, store_options(settings))
    pages = None
    try:
        pages = PageCache(
            store,
            nursery,
            memory_bytes=settings.memory_bytes,
            disk_bytes=settings.disk_bytes,
            folder=settings.cache_folder,
            part_size=settings.part_size,
            concurrency=settings.concurrency,
            owner=os.fspath(settings.mountpoint),
        )
        pages.rescue()
        return await _serve(settings, build(settings, store, pages, nursery), ready)
    finally:
        with trio.move_on_after(CLOSING_S) as closing:
            closing.shield = True
            if pages is not None:
                await pages.aclose()
            await store.aclose()


def build(
    settings: MountSettings, store: ObjectStore, pages: PageCache, nursery: trio.Nursery
) -> Layers:
    """Put the layers above the store together."""
    defaults = Defaults(
        settings.owner_uid, settings.owner_gid, settings.file_mode, settings.directory_mode
    )
    finder = Finder(
        store,
        ttl_s=settings.ttl_s,
        defaults=defaults,
        attributes_policy=cast("AttributesPolicy", settings.attributes_policy),
        concurrency=settings.concurrency,
        nursery=nursery,
    )
    tree = Tree(
        store,
        finder,
        defaults=defaults,
        ttl_s=settings.ttl_s,
        is_read_only=settings.is_read_only,
        has_acl=settings.acl,
        concurrency=settings.concurrency,
    )
    handles = Handles(tree, pages, ttl_s=settings.ttl_s)
    in_flight = InFlightTable()
    operations = Operations(tree, handles, in_flight, ttl_s=settings.ttl_s, has_acl=settings.acl)
    drainer = Drainer(tree, concurrency=settings.concurrency)
    return Layers(operations, in_flight, handles, drainer, pages)


async def _serve(settings: MountSettings, layers: Layers, ready: Callable[[], None]) -> int:
    """Mount, serve, drain; return the exit status."""
    options = mount_options(
        mask_url(settings.url),
        is_read_only=settings.is_read_only,
        allow_other=settings.allow_other,
        kernel_options=settings.kernel_options,
    )
    session = Session(layers.operations, settings.mountpoint, options)
    control = ControlServer(
        settings.mountpoint, lambda: report(settings, layers), layers.drainer.save_all
    )
    status = 0
    async with trio.open_nursery() as side:
        await side.start(control.serve)
        session.mount()
        try:
            side.start_soon(layers.in_flight.sweep_for_ever)
            side.start_soon(layers.drainer.retry_for_ever)
            side.start_soon(end_on_signal, session, layers.drainer.save_all)
            side.start_soon(_announce, session, ready)
            await session.run()
        except Exception:
            # What is unsaved must be saved all the same.
            log.exception("the connection to the kernel broke")
            status = 1
        finally:
            session.close()
        await layers.handles.close_all()
        if await _drain_finally(layers.drainer):
            status = 1
        await control.finish(status)
        side.cancel_scope.cancel()
    return status


async def _announce(session: Session, ready: Callable[[], None]) -> None:
    await session.wait_answering()
    ready()


async def _drain_finally(drainer: Drainer) -> list[str]:
    """Save everything, with patience; return (and log) what could not be saved."""
    failed = await drainer.save_all()
    for _ in range(FINAL_ROUNDS - 1):
        if not failed:
            break
        await trio.sleep(PAUSE_BETWEEN_ROUNDS_S)
        failed = await drainer.save_all()
    for line in failed:
        log.error("not in the bucket: %s", line)
    return failed


def report(settings: MountSettings, layers: Layers) -> Report:
    """Return what the control socket tells of this mount."""
    files, left_bytes = layers.drainer.left()
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


def store_options(settings: MountSettings) -> StoreOptions:
    """Return what the settings say of the store."""
    return StoreOptions(
        endpoint=settings.endpoint,
        region=settings.region,
        scheme=settings.scheme,
        domain=settings.domain,
        storage_class=settings.storage_class,
        traffic_limit_bytes_s=settings.traffic_limit_bytes_s,
        addressing=settings.addressing,
        profile=settings.profile,
        payload=settings.payload,
        timeout_s=settings.timeout_s,
        concurrency=settings.concurrency,
    )


def _check_no_loop(settings: MountSettings) -> None:
    """Refuse folders below the mount point: this process would wait for itself."""
    mountpoint = settings.mountpoint
    if settings.cache_folder.is_relative_to(mountpoint):
        raise ConfigurationError(
            f"the cache folder {settings.cache_folder} must not be below the mount point"
        )
    scheme, _, rest = settings.url.partition("://")
    if scheme != "file":
        return
    folder = Path(os.path.realpath(rest))
    if folder.is_relative_to(mountpoint) or mountpoint.is_relative_to(folder):
        raise ConfigurationError(
            f"the folder {folder} and the mount point {mountpoint} must not be inside each other"
        )
