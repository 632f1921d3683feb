"""Several operations in one request: up to a thousand, each with its own answer; no transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bucketfs.errors import ConfusedServer, StorageError
from bucketfs.storage.kodo.calls import Calls
from bucketfs.storage.kodo.documents import parse_list
from bucketfs.storage.kodo.refusals import error_of

BATCH_KEYS = 1000


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What came of one operation: its status, and its data (empty where there are none)."""

    status: int
    data: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether it was carried out."""
        return 200 <= self.status < 300

    def error(self, operation: str, key: str) -> StorageError:
        """Return what a refusal means."""
        said = self.data.get("error")
        text = said if isinstance(said, str) else ""
        return error_of(self.status, text, operation=operation, key=key)


async def send_batch(
    calls: Calls, operation: str, key: str | None, targets: Sequence[str], *, is_repeatable: bool
) -> Sequence[BatchAnswer]:
    """Do `targets` (paths without their first slash); return the answers in their order.

    Raises: StorageError where the whole request failed.
    """
    body = "&".join(f"op={quote(target, safe='')}" for target in targets).encode()
    response = await calls.manage(
        "rs", operation, key, "/batch", body=body, is_repeatable=is_repeatable
    )
    answers = [_answer(item) for item in parse_list(response.body)]
    if len(answers) != len(targets):
        raise ConfusedServer("a batch got fewer answers than it had operations")
    return answers


def _answer(item: Any) -> BatchAnswer:
    try:
        return BatchAnswer(int(item["code"]), item.get("data") or {})
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ConfusedServer("an answer in a batch makes no sense") from exc
