"""What URL, options and environment make of a driver, and what a person hears of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from libcloud.storage.drivers.local import LocalStorageDriver
from libcloud.storage.providers import DRIVERS

from bucketfs.errors import BucketNotFound, ConfigurationError
from bucketfs.storage.libcloud.opening import order_for, parse_options
from bucketfs.storage.location import StoreOptions
from bucketfs.storage.opening import open_store

KEYS = {"LIBCLOUD_KEY": "key", "LIBCLOUD_SECRET": "hunter2"}


def options(endpoint: str | None = "http://127.0.0.1:9", **values: str) -> StoreOptions:
    environment = {**KEYS, **{k: v for k, v in values.items() if k.isupper()}}
    fields = {k: v for k, v in values.items() if k.islower()}
    return StoreOptions(endpoint=endpoint, environment=environment, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "provider"),
    [
        *(("minio", "minio"), ("MinIO", "minio"), ("S3_RGW", "s3_rgw"), ("s3-rgw", "s3_rgw")),
        *(("S3_EU_WEST2", "s3_eu_west_2"), ("s3_eu_west_2", "s3_eu_west_2"), ("LOCAL", "local")),
    ],
)
def test_a_provider_is_named_as_libcloud_names_it(written: str, provider: str) -> None:
    assert order_for(written, options()).provider == provider


def test_a_driver_that_a_package_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = LocalStorageDriver.__module__, LocalStorageDriver.__name__
    monkeypatch.setitem(DRIVERS, "My-Driver", (module, name))
    order = order_for("my_driver", options(None))
    assert (order.provider, order.driver_class) == ("My-Driver", LocalStorageDriver)


def test_the_endpoint_is_host_port_and_safety() -> None:
    assert order_for("s3", options("http://127.0.0.1:9000")).options == {
        "host": "127.0.0.1",
        "port": 9000,
        "secure": False,
    }
    given = order_for("s3", options("https://s3.example")).options
    assert given == {"host": "s3.example", "port": 443, "secure": True}
    assert order_for("s3", options(None, scheme="http")).options == {"secure": False}
    assert order_for("s3", options(None)).options == {}


def test_a_region_goes_where_the_driver_looks_for_it() -> None:
    order = order_for("s3", options(region="eu-west-1"))
    assert (order.options["region"], dict(order.attributes)) == ("eu-west-1", {})
    order = order_for("minio", options(region="eu-west-1"))
    assert "region" not in order.options
    assert order.make().region_name == "eu-west-1"
    with pytest.raises(ConfigurationError, match="knows no region"):
        order_for("local", options(region="eu-west-1"))


def test_options_of_the_driver_come_from_the_environment() -> None:
    text = "token=a=b, ex_force_auth_version=2.0,secure=no,port=80"
    found = parse_options({"LIBCLOUD_OPTIONS": text})
    assert found == {
        "token": "a=b",
        "ex_force_auth_version": "2.0",
        "secure": False,
        "port": 80,
    }
    assert parse_options({}) == {}
    assert parse_options({"LIBCLOUD_OPTIONS": r"a=1\,2,b=c\\d,"}) == {"a": "1,2", "b": r"c\d"}


@pytest.mark.parametrize("text", ["hunter2", "=hunter2", "a b=hunter2", "port=hunter2"])
def test_a_wrong_option_is_told_without_its_value(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_options({"LIBCLOUD_OPTIONS": text})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "given", "said"),
    [
        ("nowhere", options(), "no driver 'nowhere'; it has: aliyun_oss, .*, scaleway"),
        ("minnio", options(), r"no driver 'minnio'; did you mean minio\?"),
        ("azure", options(), r"did you mean azure_blobs\?"),
        ("OSS", options(), r"did you mean aliyun_oss\?"),
        ("nimbus", options(), "driver nimbus cannot read"),
        ("s3", options(LIBCLOUD_SECRET=""), "LIBCLOUD_SECRET is not set"),
        ("s3", options(LIBCLOUD_OPTIONS="tokn=x"), r"s3 knows no 'tokn'; did you mean token\?"),
        ("local", options(None, LIBCLOUD_OPTIONS="zz=x"), "knows no 'zz'; it has: .*ex_use_lock"),
        ("s3", options(LIBCLOUD_OPTIONS="secret=x"), "knows no 'secret'"),
        ("s3", options(LIBCLOUD_KEY=""), "LIBCLOUD_KEY is not set"),
        ("local", options(LIBCLOUD_KEY=""), "the folder that holds"),
        ("s3", options("http://host/path"), "a host without a path"),
        ("cloudfiles_us", options(), "no driver"),
        ("dummy", options(), "no driver"),
        ("google_storage", options(), "HMAC key, or a service account"),
    ],
)
def test_what_is_wrong_is_said_at_once(provider: str, given: StoreOptions, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        order_for(provider, given)


@pytest.mark.parametrize(
    ("provider", "given", "said"),
    [
        ("s3", options(region="nowhere"), "region: nowhere"),
        ("minio", options(None), "host argument is required .its host is -o endpoint="),
        ("minio", options(LIBCLOUD_OPTIONS="tenant=hunter2"), "knows no 'tenant'"),
        ("local", options(None, LIBCLOUD_KEY="/nowhere"), "not a directory"),
        ("digitalocean_spaces", options(), "takes no endpoint"),
        ("azure_blobs", options(None), "cannot be made"),
    ],
)
async def test_a_driver_that_cannot_be_made(provider: str, given: StoreOptions, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        await open_store(f"libcloud+{provider}://box", given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ("s3", "token=t"),
        ("s3", "proxy_url=http://a:1,retry_delay=2,timeout=3"),
        ("s3_rgw", "signature_version=4"),
        ("azure_blobs", "cloud_environment=china"),
        ("local", "ex_use_locking=no"),
        ("openstack_swift", "ex_force_auth_url=http://a,ex_tenant_name=t,ex_domain_name=d"),
        ("google_storage", "project=p"),
        ("backblaze_b2", "backoff=3"),
    ],
)
def test_options_that_drivers_take(provider: str, text: str, tmp_path: Path) -> None:
    key = {"local": str(tmp_path), "google_storage": "GOOGkey"}.get(provider, "key")
    endpoint = "http://127.0.0.1:9" if provider == "s3_rgw" else None
    given = {"LIBCLOUD_OPTIONS": text, "LIBCLOUD_KEY": key, "LIBCLOUD_SECRET": "c2VjcmV0"}
    order = order_for(provider, options(endpoint, **given))
    names = [item.partition("=")[0] for item in text.split(",")]
    assert set(names) <= set(order.options)
    order.make()


async def test_a_container_that_is_not_there(tmp_path: Path) -> None:
    given = options(None, LIBCLOUD_KEY=str(tmp_path))
    with pytest.raises(BucketNotFound):
        await open_store("libcloud+local://box", given)


def test_an_order_shows_no_secret() -> None:
    order = order_for("s3", options(LIBCLOUD_OPTIONS="token=hunter2"))
    assert "hunter2" not in repr(order)


def test_libcloud_is_imported_when_it_is_used() -> None:
    program = "import sys, bucketfs.cli.main, bucketfs.storage.opening as o\n"
    program += "o.opener_of('libcloud'); sys.exit('libcloud' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_without_the_package_a_person_hears_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "libcloud"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcloud", None)
    with pytest.raises(ConfigurationError, match="pip install apache-libcloud"):
        order_for("s3", options())
