from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import SinkRefused
from overnight.payloads import make_payload, sink_name
from overnight.payloads.mail import name_mail, read_mailbox, write_mail

ORIGIN = {"row_id": "r1", "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
WRITTEN_ORIGIN = "--\nrow_id: r1\nmodel: local:tiny\nprompt_hash: h\nrequest_key: k\n"
ENDS = "from=a@b.example&to=c@d.example"
NAME = "smtp://mail.example/?from=a@b.example&subject=overnight&to=c@d.example"

LOCAL = st.from_regex(r"\A[A-Za-z0-9_+='-]{1,8}(\.[a-z+]{1,4})?\Z")
ADDRESS = st.builds("{}@{}".format, LOCAL, st.sampled_from(["a.example", "B.example", "localhost"]))
PLAIN = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        ("smtp://mail.example?to=c@d.example&from=a@b.example", NAME),
        ("SMTP://Mail.Example:587/?from=a@B.Example&to=c%40d.example&subject=overnight", NAME),
        (f"smtps://mail.example:465/?{ENDS}", NAME.replace("smtp:", "smtps:")),
        (f"smtps://m:587/?{ENDS}", "smtps://m:587" + NAME.removeprefix("smtp://mail.example")),
        (f"smtp://ada%40b.example@mail.example/?{ENDS}", NAME.replace("//", "//ada%40b.example@")),
        (f"smtp://ada@b.example@mail.example/?{ENDS}", NAME.replace("//", "//ada%40b.example@")),
        (f"smtp://[::1]:25/?{ENDS}", NAME.replace("mail.example", "[::1]:25")),
        ("smtp://mail.example/?from=a+x@b.example&to=c@d.example", NAME.replace("a@", "a%2Bx@")),
        (f"smtp://mail.example/?{ENDS}&subject=Nächte:+1", NAME.replace("overnight", "N%C3%A4chte%3A%2B1")),
        (f"smtp://mail.example/?{ENDS}&subject=two%20words", NAME.replace("overnight", "two%20words")),
        ("smtp://mail.example/?from=a@b.example&to=z@d.example,c@d.example&to=z@D.example", f"{NAME},z@d.example"),
    ],
)
def test_a_mailbox_has_one_name_which_names_itself(sink, name):
    assert name_mail(sink) == name
    assert sink_name(name) == name


@given(st.sampled_from(["smtp", "smtps"]), st.integers(1, 65535), ADDRESS, st.lists(ADDRESS, min_size=1), PLAIN)
def test_a_name_says_what_it_was_made_from(scheme, port, sender, recipients, subject):
    sink = f"{scheme}://h:{port}/?to={quote(','.join(recipients))}&subject={quote(subject)}&from={quote(sender)}"
    name = name_mail(sink)
    box = read_mailbox(name)
    assert name_mail(name) == sink_name(name) == name
    assert (box.scheme, box.host, box.port, box.subject) == (scheme, "h", port, subject)
    assert box.sender.lower() == sender.lower()
    assert {r.lower() for r in box.recipients} == {r.lower() for r in recipients}


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        (f"smtp://ada:s3cret@mail.example/?{ENDS}", "holds a password"),
        (f"smtp://ada:@mail.example/?{ENDS}", "holds a password"),
        (f"smtp://:s3cret@mail.example/?{ENDS}", "holds a password"),
        (f"smtp://ada:s3cret/x@mail.example/?{ENDS}", "cannot be read"),
        (f"smtp://ada:12/s3cret@mail.example/?{ENDS}", "a path"),
        (f"smtp://ada:12?s3cret@mail.example/&{ENDS}", "a parameter besides"),
        (f"smtp://@mail.example/?{ENDS}", "user name"),
        (f"smtp://a%0Db@mail.example/?{ENDS}", "user name"),
        (f"smtp://a%00b@mail.example/?{ENDS}", "user name"),
        (f"smtp://%ffb@mail.example/?{ENDS}", "cannot be read"),
        (f"smtp:///?{ENDS}", "names no host"),
        (f"smtp:mail.example?{ENDS}", "names no host"),
        (f"smtp://mäil.example/?{ENDS}", "names no host"),
        (f"smtp://mail.example:0/?{ENDS}", "port 0"),
        (f"smtp://mail.example:x/?{ENDS}", "cannot be read"),
        (f"smtp://[::1/?{ENDS}", "cannot be read"),
        (f"smtp://mail.example/inbox?{ENDS}", "a path"),
        (f"smtp://mail.example/?{ENDS}#", "fragment"),
        (f"smtp://mail.example/?{ENDS}&bcc=e@f.example", "a parameter besides"),
        (f"smtp://mail.example/?{ENDS}&password=s3cret", "a parameter besides"),
        (f"smtp://mail.example/?{ENDS}&", "a parameter besides"),
        ("smtp://mail.example/", "names 0 senders"),
        ("smtp://mail.example/?from=a@b.example", "not to whom"),
        ("smtp://mail.example/?to=a@b.example", "names 0 senders"),
        (f"smtp://mail.example/?{ENDS}&from=e@f.example", "names 2 senders"),
        (f"smtp://mail.example/?{ENDS}&subject=", "empty"),
        (f"smtp://mail.example/?{ENDS}&subject=a&subject=b", "twice"),
        (f"smtp://mail.example/?{ENDS}&subject=a%0d%0aBcc:%20e@f.example", "no plain line"),
        (f"smtp://mail.example/?{ENDS}&subject={'x' * 101}", "longer than 100"),
        (f"smtp://mail.example/?{ENDS}&subject=%ff", "cannot be read"),
    ],
)
def test_an_incomplete_or_loaded_address_is_refused_without_repeating_it(sink, why):
    with pytest.raises(SinkRefused, match=why) as caught:
        sink_name(sink)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@b.example",
        "ada@",
        "a@b@c",
        "<a@b.example>",
        "Ada%20<a@b.example>",
        "a%0A@b.example",
        "ä@b.example",
        "a@b.example,",
        "a..b@c.example",
        "a@b..example",
        "=?utf-8?q?x?=@b.example",
        "\u212aa@b.example",
        "a" * 250 + "@b.example",
    ],
)
def test_what_is_no_mail_address_is_refused(address):
    for sink in (f"from={address}&to=a@b.example", f"to={address}&from=a@b.example"):
        with pytest.raises(SinkRefused, match="no mail address"):
            sink_name(f"smtp://mail.example/?{sink}")


def test_a_row_is_written_for_a_person_with_its_origin_below():
    row = {
        "quote": "one\n\ttwo\n",
        "label": "réd",
        "n": 1.5,
        "tags": ["ü", {"b": 1, "a": None}],
        "none": None,
        **ORIGIN,
    }
    assert write_mail(row).decode() == (
        'label: réd\nn: 1.5\nnone: null\nquote:\n  one\n  \ttwo\n  \ntags: ["ü",{"a":null,"b":1}]\n' + WRITTEN_ORIGIN
    )


def test_a_row_without_output_has_its_origin_alone():
    assert write_mail(ORIGIN).decode() == WRITTEN_ORIGIN


@given(st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.text()) | st.floats(allow_nan=False)))
def test_a_text_ignores_the_order_of_fields_and_holds_no_controls(output):
    row = {**output, **ORIGIN}
    text = write_mail(row)
    assert text == write_mail(dict(reversed(row.items())))
    assert text.decode().endswith(WRITTEN_ORIGIN)
    assert not {c for c in text.decode() if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160)}


@given(st.text(), st.text())
def test_no_value_passes_for_another_line(name, value):
    head = write_mail({f"x{name}": value, **ORIGIN}).decode().removesuffix(WRITTEN_ORIGIN)
    first, *rest = head.removesuffix("\n").split("\n")
    assert first.startswith("x")
    assert all(line.startswith("  ") for line in rest)
    # Nor for a reader that breaks lines at more than newlines.
    assert len(head.splitlines()) == len(head.removesuffix("\n").split("\n"))


def test_line_ends_of_other_systems_become_one_and_other_controls_are_shown():
    row = {"a": "x\r\ny", "b": "x\ry\0\x1b[1m\u2028\x85", "c\nd": "=?utf-8?q?x?=", **ORIGIN}
    shown = "b: x\ufffdy\ufffd\ufffd[1m\ufffd\ufffd"
    assert write_mail(row).decode() == f"a:\n  x\n  y\n{shown}\nc\ufffdd: =?utf-8?q?x?=\n{WRITTEN_ORIGIN}"


def test_a_payload_for_a_mailbox_is_the_text():
    row = {"row_id": "r1", "output": {"a": "é"}, "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
    assert make_payload(row, sink=NAME).body.decode() == "a: é\n" + WRITTEN_ORIGIN
