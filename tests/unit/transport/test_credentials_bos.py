"""Where BOS's keys are looked for, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials_bos import BosCredentials

SECRET = "s3cr3t"
VARIABLES = {"BCE_ACCESS_KEY_ID": "AK", "BCE_SECRET_ACCESS_KEY": SECRET}


def write(home: Path, text: str) -> None:
    (home / ".go-bcecli").mkdir(exist_ok=True)
    (home / ".go-bcecli" / "credentials").write_text(text)


async def test_the_environment_goes_first(tmp_path: Path) -> None:
    write(tmp_path, "[Defaults]\nAk = other\nSk = other\n")
    source = BosCredentials({"HOME": str(tmp_path), **VARIABLES, "BCE_SESSION_TOKEN": "T"})
    found = await source.get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AK", SECRET, "T")
    assert not source.invalidate(found)
    assert SECRET not in repr(found)


async def test_the_file_of_bcecmd(tmp_path: Path) -> None:
    write(tmp_path, f'[Defaults]\nAk = AK\nSk = "{SECRET}"\nSts = \n')
    found = await BosCredentials({"HOME": str(tmp_path)}).get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AK", SECRET, None)


async def test_what_was_renewed_in_the_file_is_read_after_a_refusal(tmp_path: Path) -> None:
    write(tmp_path, f"[Defaults]\nAk = AK\nSk = {SECRET}\nSts = old\n")
    source = BosCredentials({"HOME": str(tmp_path)})
    old = await source.get()
    assert await source.get() is old
    write(tmp_path, f"[Defaults]\nAk = AK\nSk = {SECRET}\nSts = new\n")
    assert (await source.get()).session_token == "old"
    assert source.invalidate(old)
    new = await source.get()
    assert new.session_token == "new"
    assert source.invalidate(old), "somebody else has renewed them meanwhile"
    assert source.invalidate(new)
    assert not source.invalidate(await source.get()), "the same keys are not tried for ever"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "BCE_ACCESS_KEY_ID"),
        ("", "access key id"),
        ("[Defaults]\nAk = AK\n", "secret access key"),
        (f"[Defaults]\nAk = AK\n{SECRET}\n", "not a valid file"),
        (f"[Defaults]\nAk = AK\nSk = {SECRET}é\n", "characters"),
    ],
)
async def test_what_is_wrong_is_said_without_the_secret(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        await BosCredentials({"HOME": str(tmp_path)}).get()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_half_of_the_variables(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no access key id of BOS in the environment"):
        await BosCredentials({"HOME": str(tmp_path), "BCE_SECRET_ACCESS_KEY": SECRET}).get()
