"""Sinks that pyproject.toml names: addresses, and classes of the project's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from overnight.deliver import deliver_release, describe_sink, name_sink, recall_release, settle_unknown
from overnight.failures import ApprovalRefused, OvernightError, SinkRefused
from overnight.records import Approval, OwnSink, Receipt
from overnight.settings import Settings
from tests.conftest import House

_MODULE = '''
from overnight.sinks import DeliveryFailed, DeliveryUnknown, RowSink

class PagerSink(RowSink):
    """Writes each row into a folder, as a pager would ring."""
    effect = "reversible"
    operation = "send"
    dedupes = False
    rung = []

    def __init__(self, options, credential):
        self.channel, self.credential = options["channel"], credential

    def send(self, payload):
        if payload.row_id == "r2" and not self.rung.count("r2"):
            self.rung.append("r2")
            raise {fault}
        self.rung.append(payload.row_id)
        return f"rang {{self.channel}} as {{self.credential}}"

    def take_back(self, payload):
        self.rung.remove(payload.row_id)
        return "silenced"
'''
_PAGER = OwnSink("our_pager:PagerSink", {"channel": "#night"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder, with what was imported from it forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    sys.modules.pop("our_pager", None)
    sys.path[:] = before


def _own(house: House, project: Path, fault: str = 'DeliveryFailed("no such pager")') -> House:
    (project / "our_pager.py").write_text(_MODULE.format(fault=fault))
    house.settings.credentials.mkdir(parents=True, exist_ok=True)
    (house.settings.credentials / "pager").write_text("s3cret")
    (house.settings.credentials / "pager").chmod(0o600)
    return House(replace(house.settings, sinks={"pager": _PAGER}), house.ledger)


def _deliver(house: House, approval: Approval) -> list[Receipt]:
    return deliver_release(approval, ledger=house.ledger, settings=house.settings)


def _rung() -> list[str]:
    found: list[str] = sys.modules["our_pager"].PagerSink.rung
    return found


def test_a_class_of_the_project_is_a_sink(house: House, project: Path) -> None:
    house = _own(house, project)
    facts = describe_sink("pager", house.settings)
    assert (facts.name, facts.operation, facts.effect) == ("own:pager?channel=%23night", "send", "reversible")
    release = house.offer(3, sink="pager")
    receipts = _deliver(house, house.approve(release))
    assert [(r.row_id, r.state) for r in receipts] == [("r1", "delivered"), ("r2", "failed"), ("r3", "delivered")]
    assert receipts[0].detail == "rang #night as …"
    recall_release(release.release_id, by="Ada", reason="no", ledger=house.ledger, settings=house.settings)
    assert _rung() == ["r2"]


@pytest.mark.parametrize("fault", ['DeliveryUnknown("the line broke")', 'ZeroDivisionError("one\\nby zero")'])
def test_a_row_whose_answer_was_lost_is_asked_about_and_not_sent_again_by_itself(
    house: House, project: Path, fault: str
) -> None:
    house = _own(house, project, fault)
    release = house.offer(3, sink="pager")
    approval = house.approve(release)
    receipts = _deliver(house, approval)
    assert [r.state for r in receipts] == ["delivered", "unknown", "delivered"]
    assert "\n" not in receipts[1].detail
    used = replace(approval, state="consumed")
    assert _deliver(house, used) == receipts
    assert _rung().count("r2") == 1
    settle_unknown(release.release_id, ["r2"], arrived=False, by="Ada", reason="silent", ledger=house.ledger)
    assert [r.state for r in _deliver(house, used)] == ["delivered"] * 3
    assert _rung().count("r2") == 2


def test_other_options_than_those_approved_deliver_nothing(house: House, project: Path) -> None:
    house = _own(house, project)
    approval = house.approve(house.offer(1, sink="pager"))
    other = replace(house.settings, sinks={"pager": OwnSink(_PAGER.location, {"channel": "#public"})})
    with pytest.raises(SinkRefused, match=r"is not what pyproject\.toml declares"):
        deliver_release(approval, ledger=house.ledger, settings=other)
    assert house.fetch("SELECT state FROM approvals") == [("approved",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be loaded"),
        ("class PagerSink: pass", "is no class over overnight.sinks.RowSink"),
        (
            "from overnight.sinks import RowSink\nclass PagerSink(RowSink): effect = 'none'",
            "does not declare operation",
        ),
        (
            (
                "from overnight.sinks import RowSink\nclass PagerSink(RowSink):\n    operation = 'x'; dedupes = True;"
                " effect = 'maybe'\n"
            ),
            "does not declare an effect of reversible or irreversible",
        ),
        (
            (
                "from overnight.sinks import RowSink\nclass PagerSink(RowSink):\n    operation = 'x'; dedupes = True;"
                " effect = 'reversible'\n"
            ),
            "cannot be made",
        ),
    ],
)
def test_a_class_that_is_no_sink_is_refused_before_anything_is_paid_for(
    settings: Settings, project: Path, text: str, said: str
) -> None:
    (project / "our_pager.py").write_text(text)
    with pytest.raises(SinkRefused, match=said) as caught:
        describe_sink("pager", replace(settings, sinks={"pager": _PAGER}))
    assert "\n" not in str(caught.value)


def test_a_name_of_the_project_stands_for_an_address(settings: Settings) -> None:
    named = replace(settings, sinks={"crm": "HTTPS://CRM.example:443/in"})
    assert name_sink("crm", named) == name_sink("https://crm.example/in", named) == "https://crm.example/in"


_DECLARED = """
[tool.overnight.sinks]
crm = "https://crm.example/in"
pager = {class = "our_pager:PagerSink", channel = "#night"}
"""


def test_sinks_are_read_from_the_project_s_file(project: Path) -> None:
    (project / "pyproject.toml").write_text(_DECLARED)
    assert Settings.from_env().sinks == {"crm": "https://crm.example/in", "pager": _PAGER}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("crm = 3", "neither an address nor a table"),
        ('crm = {channel = "#night"}', "neither an address nor a table"),
        ('crm = {class = "our_pager"}', "neither an address nor a table"),
        ('crm = {class = "a:B", channel = 3}', "is not a text"),
        ('"C R M" = "file:a.jsonl"', "has a name of other than"),
    ],
)
def test_a_sink_that_is_not_declared_rightly_is_refused_in_one_line(project: Path, line: str, said: str) -> None:
    (project / "pyproject.toml").write_text(f"[tool.overnight.sinks]\n{line}\n")
    with pytest.raises(OvernightError, match=said) as caught:
        Settings.from_env()
    assert "\n" not in str(caught.value)


def test_what_never_left_cannot_be_settled(house: House) -> None:
    release = house.offer(1)
    with pytest.raises(ApprovalRefused, match="not of unknown fate"):
        settle_unknown(release.release_id, ["r1"], arrived=True, by="Ada", reason="", ledger=house.ledger)


_LEAK = """
from overnight.sinks import RowSink

class PagerSink(RowSink):
    effect, operation, dedupes = "irreversible", "page", False

    def __init__(self, options, credential):
        self.credential = credential

    def send(self, payload):
        raise ValueError(f"Illegal header value {self.credential}")
"""


def test_what_a_class_of_the_project_says_never_holds_its_credential(house: House, project: Path) -> None:
    house = _own(house, project)
    (project / "our_pager.py").write_text(_LEAK)
    [receipt] = _deliver(house, house.approve(house.offer(1, sink="pager")))
    assert receipt.state == "unknown"
    assert "Illegal header value …" in receipt.detail


def test_a_class_that_takes_one_row_at_a_time_is_handed_no_more(settings: Settings, project: Path) -> None:
    (project / "our_pager.py").write_text(_LEAK.replace("    effect", "    n_at_once = 10\n    effect"))
    with pytest.raises(SinkRefused, match="takes one row at a time"):
        describe_sink("pager", replace(settings, sinks={"pager": _PAGER}))
