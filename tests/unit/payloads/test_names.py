import pytest

from overnight.failures import SinkRefused
from overnight.payloads import kind_of, sink_name


@pytest.mark.parametrize(
    ("sink", "kind"),
    [
        ("file:a.jsonl", "file"),
        ("http://a/", "http"),
        ("https://a/", "http"),
        ("HTTPS://a/", "http"),
        ("s3://a/b", "object"),
    ],
)
def test_the_address_tells_the_kind(sink, kind):
    assert kind_of(sink) == kind


@pytest.mark.parametrize("sink", ["", "rows.jsonl", "ftp://a/", "httpx://a/"])
def test_an_unknown_kind_is_refused_with_those_that_exist(sink):
    with pytest.raises(SinkRefused, match="file:PATH, http"):
        kind_of(sink)


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        ("file:data/./out//rows.jsonl", "file:data/out/rows.jsonl"),
        ("file:/tmp/rows.parquet", "file:/tmp/rows.parquet"),
        ("file:///tmp/my%20rows.jsonl", "file:/tmp/my rows.jsonl"),
        ("HTTP://Example.com:80", "http://example.com/"),
        ("http://example.com:8080/In?b=1", "http://example.com:8080/In?b=1"),
        ("http://[::1]:8080/in", "http://[::1]:8080/in"),
    ],
)
def test_an_address_has_one_name_which_names_itself(sink, name):
    assert sink_name(sink) == name
    assert sink_name(name) == name


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        ("file:", "names no file"),
        ("file:data/out/..", "suffix"),
        ("file:a\0.jsonl", "names no file"),
        ("file:rows.xlsx", "suffix"),
        ("file://host/rows.jsonl", "names a host"),
        ("http:///in", "names no host"),
        ("https://exämple.com/", "names no host"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://example.com/#part", "fragment"),
        ("http://example.com/a b", "white space"),
        ("http://example.com/\n", "white space"),
        ("http://example.com:port/", "not an address"),
        ("http://[::1/", "not an address"),
    ],
)
def test_an_incomplete_or_loaded_address_is_refused(sink, why):
    with pytest.raises(SinkRefused, match=why) as caught:
        sink_name(sink)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sink",
    [
        "postgres://u:PW@h/db",
        "postgresql+psycopg://u:PW@h/db",
        "postgres://u:PW/x?y#PW@h/db",
        "postgres://h/db?user=u&password=PW",
        "postgres:u:PW@h",
        "//u:PW@h/db",
        "u:PW@h/db",
        "u%3APW@h",
        "u PW@h:5432",
        "smtp://ada:s3 PW@h/",
        "smtp://ada:PW @h/?from=a@b.example",
        "smtp://ada:PW\n@h",
        "smtp://ada:PW h/",
        "https://u:PW",
        "https://u:PW/x@h/",
        "https://u:PW@h:port/",
        "https://u:PW@[::1/",
        "https://u:1/PW#x@h/",
        "https://h:1/?token=PW#x",
        "https://h:1/#PW",
        "https://ä/?token=PW",
        "file://u:PW@h/rows.jsonl",
        "file:u:PW@h/rows.xlsx",
        "file:u:PW@h/",
    ],
)
def test_no_refusal_repeats_what_may_be_a_password(sink):
    with pytest.raises(SinkRefused) as caught:
        sink_name(sink)
    assert "PW" not in str(caught.value)
    assert "PW" not in repr(caught.value.__cause__)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sink", "shown"),
    [
        ("postgres://u:pw@h/db", "'postgres'"),
        ("smtp://ada:s3 cret@h/", "'smtp://…@h/'"),
        ("https://example.com/a b", "'https://example.com/a b'"),
        ("https://example.com:8080/#part", "'https://example.com:8080/#…'"),
        ("https://example.com:port/", "'https://example.com:…'"),
        ("file:data/rows.xlsx", "'file:data/rows.xlsx'"),
    ],
)
def test_a_refusal_says_which_sink_it_is(sink, shown):
    with pytest.raises(SinkRefused) as caught:
        sink_name(sink)
    assert shown in str(caught.value)
