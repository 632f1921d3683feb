"""The "rs" service: stat, delete, copy, move, changes of attributes, and batches of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from tests.emulators.keeping import KeptObject
from tests.emulators.kodo.answers import Refused, decoded_text
from tests.emulators.kodo.stored import (
    META,
    Cloud,
    checked_meta,
    described,
    meta_of,
    with_details,
)

MAX_BATCH = 1000
_CHANGED_VALUE = re.compile(r"[0-9A-Za-z.+/;=,_ -]*")
"""What chgm takes for values of metadata and types (its documentation)."""
_OWN_VALUE = re.compile(r"[ -~]*")

Handler = Callable[[list[str], bool], Any]


class Objects:
    """Does what a path of the rs service says, `/` its segments; returns the JSON data."""

    def __init__(self, cloud: Cloud, now_s: Callable[[], float]) -> None:
        self._cloud = cloud
        self._now_s = now_s
        self.handlers: Mapping[str, Handler] = {
            "stat": self._stat,
            "delete": self._delete,
            "copy": self._copy,
            "move": self._move,
            "chgm": self._change,
            "chtype": self._change_type,
            "chstatus": self._change_status,
            "deleteAfterDays": self._delete_after,
            "lifecycle": self._lifecycle,
            "restoreAr": self._restore,
        }

    def do(self, path: str, has_parts: bool = False) -> Any:
        """Do one operation. Raises: Refused."""
        name, *segments = path.strip("/").split("/")
        handler = self.handlers.get(name)
        if handler is None or not segments:
            raise Refused(400, "invalid operation")
        with self._cloud.buckets.lock:
            return handler(segments, has_parts)

    def batch(self, body: bytes) -> tuple[int, list[dict[str, Any]]]:
        """Do the operations of a form one after the other; return the status and their answers."""
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=2 * MAX_BATCH)
        if not pairs or len(pairs) > MAX_BATCH or any(name != "op" for name, _ in pairs):
            raise Refused(400, "invalid batch")
        answers: list[dict[str, Any]] = []
        for _, path in pairs:
            try:
                data = self.do(path)
            except Refused as exc:
                answers.append({"code": exc.status, "data": {"error": exc.error}})
            else:
                answers.append({"code": 200, **({"data": data} if data else {})})
        return (200 if all(item["code"] == 200 for item in answers) else 298), answers

    def _stat(self, segments: list[str], has_parts: bool) -> Any:
        _, _, kept = self._cloud.found(segments[0])
        found = described(kept)
        meta = {name[len(META) :]: value for name, value in meta_of(kept).items()}
        if meta:
            found["x-qn-meta"] = meta
        if "restoreStatus" in kept.details:
            found["restoreStatus"] = int(kept.details["restoreStatus"])
        if "deleteAfterDays" in kept.details:
            days = int(kept.details["deleteAfterDays"])
            found["expiration"] = int(kept.modified_s) + days * 86400
        if has_parts:
            found["parts"] = [int(n) for n in re.findall("[0-9]+", kept.details["parts"])]
        return found

    def _delete(self, segments: list[str], _: bool) -> Any:
        bucket, key, _kept = self._cloud.found(segments[0])
        bucket.remove(key)

    def _copy(self, segments: list[str], _: bool) -> Any:
        _bucket, _key, kept = self._cloud.found(segments[0])
        bucket, key = self._cloud.place(segments[1])
        if bucket.get(key) is not None and not _is_forced(segments):
            raise Refused(614, "file exists")
        bucket.put(key, replace(kept, modified_s=self._now_s()))

    def _move(self, segments: list[str], has_parts: bool) -> Any:
        if segments[0] == segments[1]:
            self._cloud.found(segments[0])
            if not _is_forced(segments):
                raise Refused(614, "file exists")
            return
        source, key, kept = self._cloud.found(segments[0])
        target, target_key = self._cloud.place(segments[1])
        if target.get(target_key) is not None and not _is_forced(segments):
            raise Refused(614, "file exists")
        target.put(target_key, kept)
        source.remove(key)

    def _change(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        fields = {name: decoded_text(value) for name, value in _pairs(segments[1:]).items()}
        _check_condition(kept, fields.pop("cond", None))
        mime = fields.pop("mime", None) or kept.headers["mime"]
        for name, value in [("mime", mime), *fields.items()]:
            if name != "mime" and not name.startswith(META):
                raise Refused(400, f"invalid argument {name}")
            allowed = _OWN_VALUE if name.startswith(f"{META}!") else _CHANGED_VALUE
            if not allowed.fullmatch(value):
                raise Refused(400, f"invalid value of {name}")
        # Fields that are not named stay: the documentation promises no more than setting some.
        meta = checked_meta({**meta_of(kept), **fields})
        bucket.put(key, replace(kept, headers={"mime": mime, **meta}))

    def _change_type(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        kind = segments[2]
        if kind not in "012345" or kind == kept.details["type"]:
            raise Refused(400, "already in this type" if kind in "012345" else "invalid type")
        bucket.put(key, with_details(kept, type=kind))

    def _change_status(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        fields = _pairs(segments[1:])
        _check_condition(kept, decoded_text(fields["cond"]) if "cond" in fields else None)
        if fields.get("status") not in ("0", "1"):
            raise Refused(400, "invalid status")
        bucket.put(key, with_details(kept, status=fields["status"]))

    def _delete_after(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        details = {n: v for n, v in kept.details.items() if n != "deleteAfterDays"}
        if segments[1] != "0":
            details["deleteAfterDays"] = segments[1]
        bucket.put(key, replace(kept, details=details))

    def _lifecycle(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        fields = _pairs(segments[1:])
        _check_condition(kept, decoded_text(fields.pop("cond")) if "cond" in fields else None)
        changed = {name: days for name, days in fields.items() if days != "0"}
        details = {**kept.details, **changed}
        bucket.put(
            key, replace(kept, details={n: v for n, v in details.items() if changed.get(n) != "-1"})
        )

    def _restore(self, segments: list[str], _: bool) -> Any:
        bucket, key, kept = self._cloud.found(segments[0])
        if kept.details["type"] not in ("2", "3"):
            raise Refused(400, "not archived")
        if not 1 <= int(segments[2]) <= 7:
            raise Refused(400, "invalid freezeAfterDays")
        bucket.put(key, with_details(kept, restoreStatus="2"))


def _pairs(segments: list[str]) -> dict[str, str]:
    if len(segments) % 2:
        raise Refused(400, "invalid argument")
    return dict(zip(segments[::2], segments[1::2], strict=True))


def _is_forced(segments: list[str]) -> bool:
    return segments[2:] == ["force", "true"]


def _check_condition(kept: KeptObject, condition: str | None) -> None:
    if condition is None:
        return
    known = {
        "hash": kept.etag,
        "mime": kept.headers["mime"],
        "fsize": str(len(kept.data)),
        "putTime": str(int(kept.modified_s * 10_000_000)),
    }
    if any(known.get(name) != value for name, value in parse_qsl(condition)):
        raise Refused(412, "condition mismatch")
