"""Which keys BOS can hold. Pure.

What it would understand as another key or as another request (`@` begins an order to process an
image, `/v1` is the old form of the bucket's own address) is refused here: nothing is ever stored
under another key than was asked for.
"""

from __future__ import annotations

from bucketfs.errors import InvalidKey

MAX_KEY_BYTES = 1023
_OLD_ROOTS = ("v1", "v1/")


def check_key(key: str, operation: str, *, is_new: bool) -> None:
    """Raise InvalidKey unless BOS can hold `key`.

    `is_new`: something is to be stored there. Keys with `@` that others made are read and deleted
    as well as the server does it.
    """
    reason = _reason(key) or ("contains @, which BOS keeps for image processing"
                              if is_new and "@" in key else None)  # fmt: skip
    if reason is not None:
        raise InvalidKey(f"BOS cannot hold a key that {reason}", key=key, operation=operation)


def _reason(key: str) -> str | None:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not 1 <= size <= MAX_KEY_BYTES:
        return f"has {size} bytes (1 to {MAX_KEY_BYTES} are possible)"
    if key.startswith("/"):
        return "begins with a slash"
    if key in _OLD_ROOTS:
        return "is v1"
    if not {".", ".."}.isdisjoint(key.split("/")):
        return "has . or .. as the name of a directory or file"
    return None
