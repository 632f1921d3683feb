"""What the kernel waits for now, and what that waits for: the answer to `bucketfs inflight`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from bucketfs.counting.causes import Cause
from bucketfs.counting.programs import Programs
from bucketfs.counting.underway import StoreCall, Underway, about
from bucketfs.errors import BucketfsError
from bucketfs.fuse.boundary import InFlight, InFlightTable
from bucketfs.fuse.handles import Handles
from bucketfs.fuse.pending import path_of
from bucketfs.namespace.nodes import Inode, Node, key_of
from bucketfs.namespace.tree import Tree

_OF_FILES = frozenset({"read", "write", "flush", "fsync", "release"})
_OF_DIRECTORIES = frozenset({"readdir", "fsyncdir", "releasedir"})


class Watcher:
    """Tells what is under way, from memory. In trio's thread only."""

    def __init__(
        self,
        in_flight: InFlightTable,
        underway: Underway,
        programs: Programs,
        tree: Tree,
        handles: Handles,
    ) -> None:
        self._in_flight = in_flight
        self._underway = underway
        self._programs = programs
        self._tree = tree
        self._handles = handles

    def report(self) -> dict[str, Any]:
        """Return `kernel`: requests, the longest first; `store`: calls of the store.

        `waits_for` of a request are the numbers of calls: those that are made for it, and those of
        others about the same key.
        """
        now_s = time.monotonic()
        calls = list(self._underway)
        numbers: Mapping[StoreCall, int] = {call: n for n, call in enumerate(calls, 1)}
        requests = sorted(self._in_flight, key=lambda request: request.since_s)
        return {
            "kernel": [self._request(request, numbers, now_s) for request in requests],
            "store": [self._call(call, number, now_s) for call, number in numbers.items()],
        }

    def _request(
        self, request: InFlight, numbers: Mapping[StoreCall, int], now_s: float
    ) -> dict[str, Any]:
        node = self._node(request)
        key = None if node is None else key_of(node)
        path = f"inode {request.subject}" if node is None else path_of(node)
        if key is not None and request.name is not None:
            key += os.fsdecode(request.name)
            path = f"{path.rstrip('/')}/{request.name.decode('utf-8', 'replace')}"
        return {
            "operation": request.operation,
            "path": path,
            "seconds": round(now_s - request.since_s, 3),
            **self._who(request),
            "waits_for": [numbers[call] for call in about(numbers, request, key)],
        }

    def _call(self, call: StoreCall, number: int, now_s: float) -> dict[str, Any]:
        again_s = None if call.again_s is None else max(0.0, round(call.again_s - now_s, 3))
        key = None if call.key is None else os.fsencode(call.key).decode("utf-8", "replace")
        return {
            "number": number,
            "operation": call.operation,
            "key": key,
            "seconds": round(now_s - call.began_s, 3),
            "attempt": call.attempt,
            "again_in_s": again_s,
            **self._who(call.cause),
        }

    def _who(self, cause: Cause) -> dict[str, Any]:
        program = self._programs.of(cause)
        return {"kind": program.kind, "program": program.name, "pid": cause.pid or None}

    def _node(self, request: InFlight) -> Node | None:
        """Return what a request is about; None: that is not known any more."""
        number: Any = request.subject
        try:
            if request.operation in _OF_FILES:
                return self._handles.file(number).node
            if request.operation in _OF_DIRECTORIES:
                return self._handles.directory(number).node
            return self._tree.node(Inode(number))
        except BucketfsError:
            return None
