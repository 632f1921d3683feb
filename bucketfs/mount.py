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
from functools import partial
from pathlib import Path
from typing import cast

import trio

from bucketfs.control import ControlServer
from bucketfs.counting import causes
from bucketfs.counting.crawlers import Mode
from bucketfs.counting.meter import Meter
from bucketfs.counting.prices import read_prices
from bucketfs.counting.statistics import Statistics
from bucketfs.errors import ConfigurationError
from bucketfs.fuse.boundary import unwrapped
from bucketfs.fuse.session import (
    Session,
    check_mountpoint,
    end_on_signal,
    mount_options,
    take_over,
)
from bucketfs.fuse.supervising import Supervisor, ask_through_kernel
from bucketfs.layers import Layers, build
from bucketfs.namespace.remembered import Remembered
from bucketfs.pagecache.appending import AppendPolicy
from bucketfs.pagecache.cache import PageCache
from bucketfs.pagecache.journal import Journal
from bucketfs.served import Mounted
from bucketfs.settings import MountSettings, mask_url, scheme_of
from bucketfs.storage.admitting import Admitting
from bucketfs.storage.interface import ObjectStore
from bucketfs.storage.location import environment_with
from bucketfs.storage.opening import StoreOptions, open_store
from bucketfs.storage.patience import open_patiently
from bucketfs.storage.watched import Watched

log = logging.getLogger(__name__)

CLOSING_S = 10.0
_M_ARENA_MAX = -8
"""mallopt(3) of glibc."""
_ARENAS = 2
"""Measured with 100 open files and memory=128M: 216 MB resident instead of 319 with one arena for
each thread, since bytes received by one thread are freed by another."""


async def run_mount(
    settings: MountSettings, ready: Callable[[], None], supervisor: Supervisor | None = None
) -> int:
    """Mount, call `ready` once the mount answers, serve until it is unmounted; return exit status.

    0: everything is in the bucket; 1: something could not be saved (the log names it).
    `supervisor`: the service manager, if one started this process.
    Raises: BucketfsError before `ready`, where the mount could not begin.
    """
    _bound_arenas()
    causes.enter(causes.own("mount"))
    status = 1
    try:
        async with trio.open_nursery() as nursery:
            supervisor = supervisor or Supervisor(None)
            status = await _mount(settings, ready, supervisor, nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise unwrapped(group) from None
    return status


def _bound_arenas() -> None:
    """Keep malloc from holding far more memory than is in use; other C libraries need no such."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


async def _mount(
    settings: MountSettings,
    ready: Callable[[], None],
    supervisor: Supervisor,
    nursery: trio.Nursery,
) -> int:
    await check_mountpoint(settings.mountpoint)
    _check_no_loop(settings)
    statistics = await trio.to_thread.run_sync(_new_statistics, settings)
    opening = partial(_open_bucket, settings, statistics)
    store = await open_patiently(opening, settings.mount_timeout_s, supervisor.hold_off)
    pages = journal = remembered = None
    try:
        pages = _page_cache(settings, store, nursery)
        journal = await trio.to_thread.run_sync(Journal.open, pages.folder, _identity(settings))
        pages.rescue({record.spill for record in journal.files if record.spill})
        abort_after_s = None if settings.is_read_only else settings.abort_uploads_after_s
        with causes.acting(causes.own("cleanup")):
            pages.use_journal(journal, abort_after_s)
        remembered = await trio.to_thread.run_sync(
            Remembered.open,
            pages.folder,
            _identity(settings),
            store.capabilities,
            settings.disk_bytes,
        )
        layers = build(settings, store, pages, journal, nursery, statistics, remembered)
        if layers.is_writable:
            await layers.restore()
        return await _serve(settings, layers, ready, supervisor)
    finally:
        with trio.move_on_after(CLOSING_S) as closing:
            closing.shield = True
            if journal is not None:
                await journal.aclose()
            if remembered is not None:
                await remembered.aclose()
            if pages is not None:
                await pages.aclose()
            await store.aclose()


def _page_cache(settings: MountSettings, store: ObjectStore, nursery: trio.Nursery) -> PageCache:
    """Return the page cache, with the cache folder locked. Raises: CacheDirectoryError."""
    return PageCache(
        store,
        nursery,
        memory_bytes=settings.memory_bytes,
        disk_bytes=settings.disk_bytes,
        folder=settings.cache_folder,
        part_size=settings.part_size,
        concurrency=settings.concurrency,
        owner=os.fspath(settings.mountpoint),
        append=cast("AppendPolicy", settings.append),
        read_cache_bytes=settings.read_cache_bytes,
        identity=_identity(settings),
    )


async def _open_bucket(settings: MountSettings, statistics: Statistics) -> ObjectStore:
    """Return the bucket, whose requests are counted, and refused to crawlers."""
    store: ObjectStore = await open_store(settings.url, store_options(settings, statistics.meter))
    store = Watched(store, statistics.underway)
    return store if statistics.crawlers is None else Admitting(store)


def _identity(settings: MountSettings) -> str:
    """Return what a journal must be of for its files to be saved to this bucket."""
    url = mask_url(settings.url)
    return f"{url} at {settings.endpoint}" if settings.endpoint else url


async def _serve(
    settings: MountSettings,
    layers: Layers,
    ready: Callable[[], None],
    supervisor: Supervisor,
) -> int:
    """Mount, serve, drain; return the exit status."""
    options = mount_options(
        mask_url(settings.url),
        is_read_only=settings.is_read_only,
        allow_other=settings.allow_other,
        kernel_options=settings.kernel_options,
    )
    session = Session(layers.operations, settings.mountpoint, options)
    mounted, drainer, status = Mounted(settings, layers), layers.drainer, 0
    control = ControlServer(settings.mountpoint, mounted, settings.cache_folder)
    async with trio.open_nursery() as side:
        await mounted.start(side, control)
        await take_over(session)
        try:
            layers.start(side)
            side.start_soon(end_on_signal, session, drainer.save_last, drainer.hurry)
            side.start_soon(_announce, session, ready, supervisor, mounted)
            await session.run()
        except Exception:
            # What is unsaved must be saved all the same.
            log.exception("the connection to the kernel broke")
            status = 1
        finally:
            session.close()
        supervisor.tell("STOPPING=1")
        drainer.door.shut_for_good()
        await layers.handles.close_all()
        if await drainer.save_finally():
            status = 1
            log.error("kept in %s; the next mount saves it", settings.cache_folder)
        await control.finish(status)
        side.cancel_scope.cancel()
    return status


async def _announce(
    session: Session, ready: Callable[[], None], supervisor: Supervisor, mounted: Mounted
) -> None:
    await session.wait_answering()
    ready()
    supervisor.tell("READY=1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.report, mounted.supervised)
        await supervisor.feed(partial(ask_through_kernel, session.mountpoint))


def _new_statistics(settings: MountSettings) -> Statistics:
    """Return counters that begin now. Raises: ConfigurationError (the file of prices)."""
    return Statistics(
        scheme=scheme_of(settings.url),
        has_endpoint=settings.endpoint is not None,
        prices=read_prices(settings.prices_file),
        crawlers=cast("Mode", settings.crawlers),
        crawler_names=settings.crawler_names,
    )


def store_options(settings: MountSettings, meter: Meter | None = None) -> StoreOptions:
    """Return what the settings say of the store, whose requests `meter` counts."""
    return StoreOptions(
        environment=environment_with(scheme_of(settings.url), settings.secrets),
        meter=meter or Meter(),
        endpoint=settings.endpoint,
        region=settings.region,
        scheme=settings.scheme,
        domain=settings.domain,
        storage_class=settings.storage_class,
        traffic_limit_bytes_s=settings.traffic_limit_bytes_s,
        addressing=settings.addressing,
        profile=settings.profile,
        credential_command=settings.credential_command,
        credential_file=settings.credential_file,
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
