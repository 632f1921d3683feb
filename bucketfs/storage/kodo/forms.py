"""A form upload: token, key, checksum, metadata and the bytes, as multipart/form-data."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

from bucketfs.storage.interface import Body


class UploadForm:
    """The body of a form upload; `content_type` is what its header says.

    `fields` are text by name; `file_type` is the content type of the bytes. The bytes come last.
    """

    def __init__(self, fields: Mapping[str, str], file_type: str, body: Body) -> None:
        boundary = secrets.token_hex(24)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        begin = f"--{boundary}\r\nContent-Disposition: form-data; name="
        lines = [f'{begin}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
        lines.append(f'{begin}"file"; filename="file"\r\nContent-Type: {file_type}\r\n\r\n')
        self._head = "".join(lines).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._body = body

    @property
    def size(self) -> int:
        """How many bytes the form has."""
        return len(self._head) + self._body.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the form in order."""
        yield self._head
        yield from self._body
        yield self._tail
