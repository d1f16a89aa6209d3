"""The gallery reads what lies under its roots and nothing else, however a URI is written."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.ui.roots import locate, read_roots, roots_of

ROOTS = read_roots("file:///data/pics, s3://shop@bucket/pics\ngs://open-bucket")


@pytest.mark.parametrize(
    ("uri", "reached"),
    [
        ("file:///data/pics/a.png", "file:///data/pics/a.png"),
        ("file:///data/pics//2026/a%20b.png", "file:///data/pics/2026/a%20b.png"),
        ("FILE:///data/pics/a.png", "file:///data/pics/a.png"),
        ("s3://shop@bucket/pics/a.png", "s3://shop@bucket/pics/a.png"),
        ("s3://bucket/pics/a.png", "s3://shop@bucket/pics/a.png"),
        ("gs://open-bucket/anything/a.png", "gs://open-bucket/anything/a.png"),
    ],
)
def test_what_lies_under_a_root_is_reached_with_the_connection_of_the_root(uri: str, reached: str) -> None:
    location = locate(uri, ROOTS)

    assert location is not None
    assert location.uri == reached


OUTSIDE = r"""
file:///etc/passwd  file:///data/pics-secret/a.png  file:///data/pics  file:///data/pics/../../etc/passwd
file:///data/pics/%2e%2e/%2e%2e/etc/passwd  file:///data/pics/%252e%252e/secret.png
file:///data/pics/..%2f..%2fetc/passwd  file:///data/pics/./a.png  file:///data/pics/..\..\etc
file:///data/pics/a%00.png  file://host/data/pics/a.png  file:/data/pics/a.png  /data/pics/a.png  data/pics/a.png
s3://thief@bucket/pics/a.png  s3://@bucket/pics/a.png  s3://shop@other/pics/a.png  s3://bucket/pics2/a.png
s3a://bucket/pics/a.png  gs://someone@open-bucket/a.png
zip::file:///data/pics/a.zip  simplecache::s3://bucket/pics/a.png
http://127.0.0.1/data/pics/a.png  https://bucket/pics/a.png
"""
NO_URI = [
    "file:///data/pics/a.png\x00.txt",
    "file:///data/pics/" + "a" * 5000,
    "",
    None,
    7,
    ["file:///data/pics/a.png"],
]


@pytest.mark.parametrize("uri", [*OUTSIDE.split(), *NO_URI])
def test_nothing_else_is_reached(uri: object) -> None:
    assert locate(uri, ROOTS) is None


def test_without_roots_nothing_is_reached() -> None:
    assert locate("file:///data/pics/a.png", read_roots("")) is None
    assert read_roots(None) == ()


@pytest.mark.parametrize("text", ["/data/pics", "data", "s3://bucket, ../up", "file:///data/../etc"])
def test_a_root_that_is_no_uri_of_a_folder_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"gallery_roots holds .*write each root as a URI"):
        read_roots(text)


def test_a_root_that_names_dags_shows_nothing_that_another_dag_names() -> None:
    roots = read_roots("shop_*=s3://shop@bucket/pics, covers = file:///data/covers/year=2026\nfile:///data/open/a=b")

    def shows(dag_id: str, uri: str) -> bool:
        return locate(uri, roots_of(dag_id, roots)) is not None

    for uri, readers in {
        "s3://bucket/pics/a.png": {"shop_1", "shop_"},
        "file:///data/covers/year=2026/a.png": {"covers"},
        "file:///data/open/a=b/a.png": {"shop_1", "shop_", "covers", "Shop_1", "shop", ""},
    }.items():
        assert {
            dag_id for dag_id in ("shop_1", "shop_", "covers", "Shop_1", "shop", "") if shows(dag_id, uri)
        } == readers


@pytest.mark.parametrize("text", ["shop=", "=s3://bucket/pics", "shop=/data/pics", "a,b=s3://bucket/pics"])
def test_a_root_of_dags_that_is_no_uri_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"gallery_roots holds .*for some Dags only"):
        read_roots(text)
