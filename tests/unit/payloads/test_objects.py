import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import SinkRefused
from overnight.payloads.objects import name_object


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        ("s3://rows/out/{release}.jsonl", "s3://rows/out/{release}.jsonl"),
        ("S3://rows//out/./night/{release}.csv", "s3://rows/out/night/{release}.csv"),
        ("gs://rows/{release}.parquet", "gs://rows/{release}.parquet"),
        ("az://rows//night-{release}.jsonl", "az://rows/night-{release}.jsonl"),
        ("s3://my.bucket-1_a/x/rows.{release}.jsonl", "s3://my.bucket-1_a/x/rows.{release}.jsonl"),
    ],
)
def test_an_address_has_one_name_which_names_itself(sink, name):
    assert name_object(sink) == name
    assert name_object(name) == name


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        ("s3://rows/out/rows.jsonl", "none is ever overwritten"),
        ("s3://rows/{release}/rows.jsonl", "none is ever overwritten"),
        ("s3://rows/{release}/{release}.jsonl", "none is ever overwritten"),
        ("s3://rows/{release}{release}.jsonl", "none is ever overwritten"),
        ("s3://rows/{release}.jsonl/", "none is ever overwritten"),
        ("s3://rows/{release}.txt", "suffix"),
        ("s3://rows/{release}", "suffix"),
        ("s3://rows/a.jsonl.{release}", "suffix"),
        ("s3://rows/../{release}.jsonl", "'..'"),
        ("s3://rows/a/../{release}.jsonl", "'..'"),
        ("s3://rows/{release}.jsonl?versionId=1", "query or a fragment"),
        ("s3://rows/{release}.jsonl#1", "query or a fragment"),
        ("s3://key:secret@rows/{release}.jsonl", "user name or password"),
        ("s3:/rows/{release}.jsonl", "names no bucket"),
        ("s3:rows/{release}.jsonl", "names no bucket"),
        ("s3:///{release}.jsonl", "names no bucket"),
        ("s3://Rows/{release}.jsonl", "names no bucket"),
        ("s3://../{release}.jsonl", "names no bucket"),
        ("s3://r/{release}.jsonl", "names no bucket"),
        ("s3://" + "r" * 64 + "/{release}.jsonl", "names no bucket"),
        ("s3://rows:80/{release}.jsonl", "names no bucket"),
        ("s3://rows\n/{release}.jsonl", "names no bucket"),
        ("s3://{release}.jsonl", "names no bucket"),
    ],
)
def test_an_incomplete_or_loaded_address_is_refused(sink, why):
    with pytest.raises(SinkRefused, match=why) as caught:
        name_object(sink)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sink",
    [
        "s3://KEY:a/secret@rows/{release}.jsonl",
        "s3:///KEY:secret@rows/{release}.jsonl",
        "s3://KEY:secret",
        "s3://rows/KEY:secret@out/{release}.txt",
        "s3://rows/KEY:secret@out/rows.jsonl",
        "s3://rows/../KEY:secret@out/{release}.jsonl",
        "s3://rows/{release}.jsonl?signature=secret",
        "s3://rows/{release}.jsonl#secret",
    ],
)
def test_a_refusal_repeats_nothing_that_may_be_a_secret(sink):
    with pytest.raises(SinkRefused, match="The sink 's3:") as caught:
        name_object(sink)
    assert "secret" not in str(caught.value)


@given(st.text(st.sampled_from("ab./-{}"), max_size=12))
def test_whatever_is_taken_is_taken_again_as_it_is(path):
    try:
        name = name_object(f"s3://rows/{path}{{release}}.csv")
    except SinkRefused:
        return
    assert name_object(name) == name
    assert name.endswith("{release}.csv")
    assert "/../" not in name
