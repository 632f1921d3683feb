"""The emulated Kodo answers Qiniu's own SDK as Kodo does: what the emulator is worth."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qiniu
import requests
from qiniu import build_batch_copy, build_batch_delete, build_batch_move, build_batch_stat
from qiniu.services.storage.bucket import build_batch_restore_ar
from qiniu.services.storage.upload_progress_recorder import UploadProgressRecorder

from tests.emulators.kodo.sdk import Sdk
from tests.emulators.kodo.stored import qetag
from tests.emulators.serving import RunningEmulator

MIB = 1 << 20


@pytest.fixture
def sdk(kodo: RunningEmulator) -> Iterator[Sdk]:
    """The SDK with a bucket of its own."""
    yield Sdk(kodo, kodo.make_bucket())
    kodo.knobs.reset()
    kodo.emulator.denied.clear()


def status(answer: Any) -> int:
    """Return the status of what the SDK returned."""
    code: int = answer[-1].status_code
    return code


def test_buckets(sdk: Sdk) -> None:
    name = f"{sdk.bucket}-made"
    assert status(sdk.manager.mkbucketv3(name, "z1")) == 200
    assert status(sdk.manager.mkbucketv3(name, "z1")) == 614
    assert status(sdk.manager.mkbucketv3("Not_A_Name", "z1")) == 400
    assert {name, sdk.bucket} <= set(sdk.manager.buckets()[0])
    assert sdk.manager.bucket_info(name)[0]["region"] == "z1"
    assert name in [item["tbl"] for item in sdk.manager.list_bucket("z1")[0]]
    assert sdk.bucket not in [item["tbl"] for item in sdk.manager.list_bucket("z1")[0]]
    assert sdk.manager.list_domains(sdk.bucket)[0] == [sdk.domain]
    assert status(sdk.manager.change_bucket_permission(name, 0)) == 200
    assert sdk.manager.bucket_info(name)[0]["private"] == 0
    assert status(sdk.manager.bucket_info("no-such-bucket")) == 631


@pytest.mark.parametrize("key", ["a", "a b", "目录/文件.txt", "a//b", "/a", "d/", "a%2Fb?c#d&e"])
def test_a_form(sdk: Sdk, key: str) -> None:
    ret, info = sdk.put(
        key,
        b"hello",
        params={"x:v": "1"},
        mime_type="text/plain",
        check_crc=True,
        metadata={"x-qn-meta-a": "b"},
    )
    assert info.status_code == 200, info
    assert ret == {"hash": "Fqr0xh3cxeii2r7eDztILNmuqUNN", "key": key}
    found, _ = sdk.manager.stat(sdk.bucket, key)
    assert found["fsize"] == 5
    assert found["x-qn-meta"] == {"a": "b"}
    assert found["mimeType"] == "text/plain"
    assert sdk.get(key).content == b"hello"


def test_a_key_with_a_colon(sdk: Sdk) -> None:
    assert sdk.put("a:b:c", b"x")[0]["key"] == "a:b:c"
    assert sdk.keys() == ["a:b:c"]


def test_a_form_with_wrong_bytes_is_refused(sdk: Sdk) -> None:
    form = {"token": sdk.token("a"), "key": "a", "crc32": "1"}
    answer = requests.post(sdk.server.endpoint, data=form, files={"file": ("a", b"hello")})
    assert answer.status_code == 406
    assert answer.headers["X-Reqid"]
    assert sdk.keys() == []


def test_what_a_token_allows(sdk: Sdk) -> None:
    assert status(sdk.put("other", b"x", token=sdk.token("a"))) == 403
    forger = qiniu.Auth(sdk.server.environment["QINIU_ACCESS_KEY"], "another secret")
    assert status(sdk.put("a", b"x", token=forger.upload_token(sdk.bucket, "a"))) == 401
    assert status(sdk.put("a", b"one", token=sdk.token("a", insertOnly=1))) == 200
    assert status(sdk.put("a", b"two", token=sdk.token("a", insertOnly=1))) == 614
    assert status(sdk.put("a", b"two", token=sdk.token(None))) == 614
    assert status(sdk.put("a", b"one", token=sdk.token(None))) == 200
    assert status(sdk.put("a", b"two", token=sdk.token("a"))) == 200
    assert status(sdk.put("big", b"12345", token=sdk.token("big", fsizeLimit=4))) == 413
    prefixed = sdk.token("pre", isPrefixalScope=1)
    assert status(sdk.put("prefix", b"x", token=prefixed)) == 200
    assert status(sdk.put("other", b"x", token=prefixed)) == 403
    expired = sdk.auth.upload_token(sdk.bucket, "a", expires=-10)
    assert status(sdk.put("a", b"x", token=expired)) == 401
    assert status(sdk.put("a", b"x", token=qiniu.Auth("ak", "sk").upload_token("b"))) == 401


def test_what_a_policy_says(sdk: Sdk) -> None:
    body = '{"k":$(key),"h":$(etag),"n":$(fsize),"v":$(x:v)}'
    token = sdk.token("a", returnBody=body, fileType=1, deleteAfterDays=7)
    ret, _ = sdk.put("a", b"hello", token=token, params={"x:v": "w"})
    assert ret == {"k": "a", "h": "Fqr0xh3cxeii2r7eDztILNmuqUNN", "n": 5, "v": "w"}
    found, _ = sdk.manager.stat(sdk.bucket, "a")
    assert found["type"] == 1
    assert found["expiration"] > time.time() + 6 * 86400
    assert sdk.put(None, b"hello")[0]["key"] == "Fqr0xh3cxeii2r7eDztILNmuqUNN"


@pytest.mark.parametrize("size", [0, 5, 4 * MIB, 4 * MIB + 1, 8 * MIB + 1])
def test_hashes_are_those_of_the_sdk(sdk: Sdk, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * size)
    ret, info = sdk.put_file("a", path, tmp_path)
    assert info.status_code == 200, info
    assert ret["hash"] == qiniu.etag(str(path)) == qetag(b"a" * size)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "liSj6bzjeX1YHZUg0Ii2UC3xRpgj"),
        ({"part_size": 5 * MIB}, "nvy6GAkHIfaGM_greURiDckdKLSO"),
        ({"version": "v1"}, "liSj6bzjeX1YHZUg0Ii2UC3xRpgj"),
    ],
)
def test_a_large_file(sdk: Sdk, tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * (6 * MIB))
    token = sdk.token("d/k")
    with path.open("rb") as stream:
        put = qiniu.put_stream if options.get("version") == "v1" else qiniu.put_stream_v2
        ret, info = put(
            token,
            "d/k",
            stream,
            "file",
            6 * MIB,
            upload_progress_recorder=UploadProgressRecorder(record_folder=str(tmp_path)),
            regions=sdk.regions,
            bucket_name=sdk.bucket,
            metadata={"x-qn-meta-a": "b"},
            **options,
        )
    assert info.status_code == 200, info
    assert ret == {"hash": expected, "key": "d/k"}
    assert sdk.manager.stat(sdk.bucket, "d/k")[0]["fsize"] == 6 * MIB
    assert sdk.get("d/k").content == b"a" * (6 * MIB)


def test_an_upload_goes_on_where_it_was(sdk: Sdk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1" * (4 * MIB) + b"2" * (4 * MIB) + b"3" * MIB)
    knobs = sdk.server.knobs
    knobs.refuse = lambda ask: (
        sdk.server.emulator.answer(ask)
        if not ask.target.endswith("/3")
        else _refusal(400, "interrupted")
    )
    assert status(sdk.put_file("a", path, tmp_path)) == 400
    knobs.reset()
    ret, info = sdk.put_file("a", path, tmp_path)
    assert info.status_code == 200, info
    sent = [ask.target.rpartition("/")[2] for ask in knobs.seen if ask.method == "PUT"]
    assert "3" in sent
    assert len(sent) < 3
    assert ret["hash"] == qiniu.etag(str(path))


def _refusal(code: int, text: str) -> Any:
    from tests.emulators.kodo.answers import json_answer

    return json_answer(code, {"error": text})


def test_stat_list_and_delete(sdk: Sdk) -> None:
    for key in ("a", "d/1", "d/2", "d/e/3", "z"):
        sdk.put(key, b"x")
    assert sdk.keys("d/") == ["d/1", "d/2", "d/e/3"]
    found: list[str] = []
    marker, eof = None, False
    while not eof:
        ret, eof, _ = sdk.manager.list(sdk.bucket, None, marker, 2, "/")
        found += [item["key"] for item in ret["items"]] + ret.get("commonPrefixes", [])
        marker = ret.get("marker")
    assert found == ["a", "d/", "z"]
    assert status(sdk.manager.list(sdk.bucket, marker="nonsense")) == 640
    assert status(sdk.manager.list("no-such-bucket")) == 631
    assert status(sdk.manager.delete(sdk.bucket, "a")) == 200
    assert status(sdk.manager.delete(sdk.bucket, "a")) == 612
    assert status(sdk.manager.stat(sdk.bucket, "a")) == 612
    assert status(sdk.manager.stat("no-such-bucket", "a")) == 631


def test_copy_move_and_rename(sdk: Sdk) -> None:
    other = f"{sdk.bucket}-other"
    sdk.manager.mkbucketv3(other, "z0")
    sdk.put("a", b"one", metadata={"x-qn-meta-a": "b"})
    sdk.put("b", b"two")
    assert status(sdk.manager.copy(sdk.bucket, "a", sdk.bucket, "b")) == 614
    assert status(sdk.manager.copy(sdk.bucket, "a", sdk.bucket, "b", force="true")) == 200
    assert sdk.manager.stat(sdk.bucket, "b")[0]["x-qn-meta"] == {"a": "b"}
    assert status(sdk.manager.move(sdk.bucket, "a", other, "c")) == 200
    assert status(sdk.manager.stat(sdk.bucket, "a")) == 612
    assert sdk.manager.stat(other, "c")[0]["fsize"] == 3
    assert status(sdk.manager.rename(sdk.bucket, "b", "d")) == 200
    assert status(sdk.manager.rename(sdk.bucket, "gone", "d")) == 612
    assert sdk.keys() == ["d"]


def test_changes_of_attributes(sdk: Sdk) -> None:
    ret, _ = sdk.put("a", b"x", metadata={"x-qn-meta-a": "b"})
    manager, bucket = sdk.manager, sdk.bucket
    assert status(manager.change_mime(bucket, "a", "text/x-test")) == 200
    assert manager.stat(bucket, "a")[0]["mimeType"] == "text/x-test"
    assert manager.stat(bucket, "a")[0]["x-qn-meta"] == {"a": "b"}
    assert status(manager.change_type(bucket, "a", 1)) == 200
    assert status(manager.change_type(bucket, "a", 1)) == 400
    assert status(manager.change_status(bucket, "a", "1", {"hash": "other"})) == 412
    assert status(manager.change_status(bucket, "a", "1", {"hash": ret["hash"]})) == 200
    assert manager.stat(bucket, "a")[0]["status"] == 1
    assert sdk.get("a").status_code == 403
    assert status(manager.change_status(bucket, "a", "0", None)) == 200
    assert status(manager.delete_after_days(bucket, "a", "5")) == 200
    assert status(manager.set_object_lifecycle(bucket, "a", to_line_after_days=30)) == 200
    assert status(manager.restore_ar(bucket, "a", 2)) == 400
    assert status(manager.change_type(bucket, "a", 2)) == 200
    assert sdk.get("a").status_code == 403
    assert status(manager.restore_ar(bucket, "a", 2)) == 200
    assert sdk.get("a").status_code == 200


def test_batches(sdk: Sdk) -> None:
    for key in ("a", "b", "c"):
        sdk.put(key, b"x")
    bucket = sdk.bucket
    ret, info = sdk.manager.batch(build_batch_stat(bucket, ["a", "b"]))
    assert info.status_code == 200
    assert [item["data"]["fsize"] for item in ret] == [1, 1]
    operations = [
        *build_batch_copy(bucket, {"a": "copy"}, bucket, "true"),
        *build_batch_move(bucket, {"b": "moved"}, bucket, "true"),
        *build_batch_delete(bucket, ["c", "gone"]),
        *build_batch_restore_ar(bucket, {"a": 1}),
    ]
    _, info = sdk.manager.batch(operations)
    assert info.status_code == 298
    assert [item["code"] for item in json.loads(info.text_body)] == [200, 200, 200, 612, 400]
    assert sdk.keys() == ["a", "copy", "moved"]
    assert status(sdk.manager.batch(build_batch_stat(bucket, ["a"] * 1001))) == 400


def test_fetch(sdk: Sdk) -> None:
    class Source(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Source) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/x"
        ret, _ = sdk.manager.fetch(url, sdk.bucket, "fetched")
        assert ret["fsize"] == 5
        assert sdk.manager.fetch(url, sdk.bucket)[0]["key"] == ret["hash"]
        server.shutdown()
    assert status(sdk.manager.fetch("http://127.0.0.1:1/x", sdk.bucket, "x")) == 478
    assert status(sdk.manager.prefetch(sdk.bucket, "fetched")) == 200
    assert status(sdk.manager.prefetch(sdk.bucket, "absent")) == 478


def test_downloads(sdk: Sdk) -> None:
    sdk.put("d/a", b"0123456789", metadata={"x-qn-meta-a": "b", "x-qn-meta-!Cache-Control": "x"})
    whole = sdk.get("d/a")
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["ETag"] == f'"{qetag(b"0123456789")}"'
    assert whole.headers["X-Qn-Meta-A"] == "b"
    assert whole.headers["Cache-Control"] == "x"
    part = sdk.get("d/a", {"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"123")
    assert part.headers["Content-Range"] == "bytes 1-3/10"
    assert sdk.get("d/a", {"Range": "bytes=10-12"}).status_code == 416
    assert sdk.get("d/a", {"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert sdk.get("absent").status_code == 404
    assert sdk.get("d/a", url=sdk.url("d/a")[:-6] + "AAAAAA").status_code == 401
    assert sdk.get("d/a", url=sdk.url("d/a", -10)).status_code == 401
    assert sdk.get("d/a", url=f"http://{sdk.domain}/d/a").status_code == 401
    sdk.manager.change_bucket_permission(sdk.bucket, 0)
    assert sdk.get("d/a", url=f"http://{sdk.domain}/d/a").status_code == 200


def test_signatures_cover_what_is_asked(sdk: Sdk) -> None:
    sdk.put("a", b"x")
    endpoint = sdk.server.endpoint

    def ask(method: str, target: str, body: str = "", change: tuple[str, str] = ("", "")) -> int:
        """Sign a request, change it, and return how it is answered."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        now = time.gmtime(time.time())
        headers["X-Qiniu-Date"] = time.strftime("%Y%m%dT%H%M%SZ", now)
        mac = qiniu.QiniuMacAuth(
            sdk.server.environment["QINIU_ACCESS_KEY"], sdk.server.environment["QINIU_SECRET_KEY"]
        )
        token = mac.token_of_request(
            method,
            sdk.place,
            endpoint + target,
            mac.qiniu_headers(headers),
            headers["Content-Type"],
            body,
        )
        headers["Authorization"] = f"Qiniu {token}"
        if change[0] == "date":
            headers["X-Qiniu-Date"] = change[1]
        text = body.replace(*change) if change[0] else body
        where = target.replace(*change) if change[0] else target
        return requests.request(method, endpoint + where, headers=headers, data=text).status_code

    stat = f"op=stat%2F{qiniu.utils.entry(sdk.bucket, 'a')}"
    assert ask("POST", "/batch", stat) == 200
    assert ask("POST", "/batch", stat, ("stat", "chgm")) == 401
    assert ask("GET", f"/list?bucket={sdk.bucket}&limit=9") == 200
    assert ask("GET", f"/list?bucket={sdk.bucket}&limit=9", "", ("limit=9", "limit=8")) == 401
    assert ask("POST", "/buckets", "", ("date", "20200101T000000Z")) == 401
    sdk.server.knobs.skew_s = 3600
    assert ask("POST", "/buckets") == 403


def test_the_older_token(sdk: Sdk) -> None:
    form = {"op": f"stat/{qiniu.utils.entry(sdk.bucket, 'a')}"}
    older = qiniu.auth.RequestsAuth(sdk.auth)
    answer = requests.post(f"{sdk.server.endpoint}/batch", data=form, auth=older)
    assert answer.status_code == 298
