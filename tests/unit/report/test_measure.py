from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from overnight.ledger.manifests import record_batches
from overnight.parts import write_part
from overnight.records import CompletedBatch
from overnight.report.measure import RunReport, escape_markdown, measure, render_markdown
from tests.conftest import RUN, House

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    "[click](http://evil.example)",
    "![pixel](http://evil.example/p.png)",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<http://evil.example>",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "# heading",
    "`code`",
    "```\nfence\n```",
    "**bold** _it_ ~~gone~~",
    "\\[already escaped\\](x)",
    "&lt;b&gt; &amp; &#60;",
    "line\n\nparagraph",
]


def _measure(house: House) -> RunReport:
    return measure(RUN, ledger=house.ledger, place=house.home, now=3.0)


def _kinds(markdown: str) -> set[str]:
    """What the text becomes inside its paragraph."""
    [_, inline, _] = MARKDOWN.parse(f"x {markdown} x")
    return {child.type for child in inline.children or []}


def _read(markdown: str) -> str:
    [_, inline, _] = MARKDOWN.parse(f"x {markdown} x")
    return "".join(child.content for child in inline.children or [])


def test_a_report_balances(night: House) -> None:
    s = _measure(night).summary
    assert (s.rows, s.accepted, s.quarantined, s.pending) == (5, 2, 2, 1)
    assert s.rows == s.published + s.held + s.quarantined + s.pending
    assert (s.published, s.held, s.calls, s.hits) == (1, 1, 7, 0)


def test_a_stop_reason_that_is_not_known_is_said_aloud(house: House) -> None:
    batch = house.read_batch(["a"])
    row = {
        "row_id": "r1",
        "row_number": 1,
        "state": "quarantined",
        "failure_class": "unknown_stop",
        "reason": "It paused.",
    }
    part = write_part([row], house.home)
    completed = CompletedBatch(1, part, "0" * 64, 0, 1, 0)
    house.begin()
    house.ledger.write(lambda c: record_batches(c, RUN, [batch]))
    house.ledger.write(lambda c: record_batches(c, RUN, [completed]))
    [warning] = _measure(house).warnings
    assert warning.startswith("1 rows stopped for a reason that this version does not know: It paused.")


def test_a_report_names_each_reason_with_rows_it_struck(night: House) -> None:
    found = {(r.state, r.failure_class): (r.n_rows, r.examples) for r in _measure(night).reasons}
    assert found == {
        ("quarantined", "missing_value"): (1, ("r3",)),
        ("quarantined", "refusal"): (1, ("r4",)),
        ("pending", "overload"): (1, ("r5",)),
    }


def test_a_report_in_markdown_holds_its_figures_and_escapes_what_models_said(night: House) -> None:
    text = render_markdown(_measure(night))
    assert "| 5 | 2 | 2 | 1 | 1 | 1 |" in text
    assert r"The model refused: I \[may\]\(http\://evil.example\) not." in text
    assert not [t for t in MARKDOWN.parse(text) for c in t.children or [] if c.type in {"link_open", "image"}]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_and_still_read_as_it_is(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert _kinds(escaped) <= {"text", "text_special"}
    assert _read(escaped) == f"x {' '.join(text.split())} x"


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("[]()<>!`*_~|#&\\\n-+."), max_size=40))
def test_whatever_the_text_only_text_comes_of_it(text: str) -> None:
    assert _kinds(escape_markdown(text)) <= {"text", "text_special"}


def test_text_in_a_table_s_cell_stays_in_its_cell() -> None:
    row = f"| {escape_markdown('a | b')} | {escape_markdown('c')} |"
    tokens = MARKDOWN.parse(f"| one | two |\n|---|---|\n{row}")
    assert [t.content for t in tokens if t.type == "inline"] == ["one", "two", "a | b", "c"]


@pytest.mark.parametrize(
    "text",
    ["https://evil.example", "see www.evil.example", "SEE WWW.EVIL.EXAMPLE", "mail me@evil.example", "ftp://x.y"],
)
def test_a_bare_address_does_not_become_a_link(text: str) -> None:
    # The UI makes links of addresses that stand in a text as they are.
    assert not re.search(r"(?<!\\)://|www\.|(?<!\\)@", escape_markdown(text).lower())
    assert _read(escape_markdown(text)) == f"x {text} x"
