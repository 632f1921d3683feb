"""Keys as vendors write them down."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bucketfs.errors import ConfigurationError
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.key_texts import keys_of_file, keys_of_json

SECRET = "s3cr3t/value"
ENDS_S = 1_800_000_000.0
ENDS = datetime.fromtimestamp(ENDS_S, UTC).isoformat()

JSON_FORMS = {
    "amazon": {
        "Version": 1,
        "AccessKeyId": "A",
        "SecretAccessKey": SECRET,
        "SessionToken": "T",
        "Expiration": ENDS,
    },
    "ours": {"access_key": "A", "secret_key": SECRET, "token": "T", "expires": ENDS_S},
    "tencent": {
        "TmpSecretId": "A",
        "TmpSecretKey": SECRET,
        "Token": "T",
        "ExpiredTime": int(ENDS_S),
        "Expiration": ENDS,
        "Code": "Success",
    },
    "tencent-sts": {
        "Credentials": {"TmpSecretId": "A", "TmpSecretKey": SECRET, "Token": "T"},
        "ExpiredTime": int(ENDS_S),
    },
    "baidu": {
        "accessKeyId": "A",
        "secretAccessKey": SECRET,
        "sessionToken": "T",
        "expiration": ENDS.replace("+00:00", "Z"),
    },
    "container": {
        "AccessKeyId": "A",
        "SecretAccessKey": SECRET,
        "Token": "T",
        "Expiration": ENDS,
        "RoleArn": "r",
    },
    "assume-role": {
        "Credentials": {
            "AccessKeyId": "A",
            "SecretAccessKey": SECRET,
            "SessionToken": "T",
            "Expiration": ENDS,
        },
        "AssumedRoleUser": {"Arn": "x"},
    },
}


@pytest.mark.parametrize("values", JSON_FORMS.values(), ids=JSON_FORMS)
def test_every_vendors_json_is_understood(values: object) -> None:
    assert keys_of_json(json.dumps(values), "x") == Credentials("A", SECRET, "T", ENDS_S)


@pytest.mark.parametrize(
    "text",
    [
        f"access_key = A\nsecret_key = {SECRET}\ntoken = T\n",
        f'access_key = "A"\nsecret_key = \'{SECRET}\'\ntoken = "T"\n',
        f"[default]\naws_access_key_id=A\naws_secret_access_key={SECRET}\naws_session_token=T\n",
        f"# of cos\n[common]\nsecret_id = A\nsecret_key = {SECRET}\ntoken = T\n",
        f"[other]\nx = y\n[default]\nak = A\nsk = {SECRET}\nsession_token = T\n",
        json.dumps({"AccessKeyId": "A", "SecretAccessKey": SECRET, "SessionToken": "T"}),
    ],
)
def test_every_form_of_a_file_is_understood(text: str) -> None:
    assert keys_of_file(text, "x") == Credentials("A", SECRET, "T")


def test_a_section_of_a_file_may_be_named() -> None:
    text = f"[a]\nak = A\nsk = {SECRET}\n[b]\nak = B\nsk = {SECRET}\n"
    assert keys_of_file(text, "x", "b").access_key == "B"
    with pytest.raises(ConfigurationError, match=r"no section \[default\]"):
        keys_of_file(text, "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSONDecodeError"),
        (f'"{SECRET}"', "TypeError"),
        (f"[{SECRET}", "JSONDecodeError"),
        (json.dumps({"SecretAccessKey": SECRET}), "not an access key"),
        (json.dumps({"AccessKeyId": "A"}), "not a secret key"),
        (json.dumps({"AccessKeyId": "A", "SecretAccessKey": [SECRET]}), "is no text"),
        (json.dumps({"AccessKeyId": "A", "SecretAccessKey": SECRET + "\r\nX: y"}), "characters"),
        (
            json.dumps({"AccessKeyId": "A", "SecretAccessKey": SECRET, "Expiration": SECRET}),
            "end is no time",
        ),
        (json.dumps({"Version": 2, "AccessKeyId": "A", "SecretAccessKey": SECRET}), "version"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        keys_of_json(text, "it")
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"
