import json
import sys

import pytest

from overnight.checks import check_row, parse_checks
from overnight.failures import PromptRefused

CHECK = '''
"""Ours."""
from dataclasses import dataclass

RUNS = []
NOT_A_FUNCTION = 3


@dataclass
class City:
    name: "str"


def quote_names_the_city(input, output):
    RUNS.append(1)
    if City(input["city"]).name in output["quote"]:
        return None
    return "quote does not name   the\\ncity"


def raises(input, output):
    return input["town\\nhall"]


def says_false(input, output):
    return False


def says_nothing(input, output):
    return "  "


def says_much(input, output):
    return "x" * 1000
'''


def parse(folder, name="quote_names_the_city", *, code=CHECK, written=CHECK, **rule):
    path = folder / "checks.py"
    if written is not None:
        path.write_text(written, encoding="utf-8")
    row = [{"rule": "function", "name": name, **rule}]
    return parse_checks(json.dumps({"row": row}), prompt="sort", code=code, path=path).row


def test_the_projects_function_judges_the_row(tmp_path):
    rules = parse(tmp_path)
    given = {"city": "Bonn"}
    assert check_row(rules, given, {"quote": "in Bonn"}) is None
    fault = check_row(rules, given, {"quote": "in Rome"})
    assert fault.label == "function(quote_names_the_city)"
    assert fault.reason == fault.complaint == "quote does not name the city"
    assert not fault.is_soft


def test_the_text_of_the_checks_replaces_the_functions_line_for_the_model(tmp_path):
    fault = check_row(parse(tmp_path, reask="Name the city."), {"city": "Bonn"}, {"quote": ""})
    assert (fault.complaint, fault.reason) == ("Name the city.", "quote does not name the city")


def test_a_long_line_is_cut(tmp_path):
    assert len(check_row(parse(tmp_path, "says_much"), {}, {}).reason) == 300


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raises", "raises in checks.py raised KeyError: .*hall"),
        ("says_false", "says_false in checks.py returned bool"),
        ("says_nothing", "says_nothing in checks.py returned str"),
    ],
)
def test_a_function_that_fails_on_a_row_is_refused_on_one_line(tmp_path, name, why):
    rules = parse(tmp_path, name)
    with pytest.raises(PromptRefused, match=f"Prompt sort: {why}") as refused:
        check_row(rules, {}, {})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (None, r"checks\.py cannot be read \(No such file"),
        (CHECK + "# later", r"checks\.py is not what the run was pinned with.*or start a new run"),
        ("def broken(:", r"checks\.py cannot be imported \(SyntaxError"),
        ("raise LookupError('a\\nb')", r"checks\.py cannot be imported \(LookupError: a b\)"),
        ("import no_such_module_here", r"cannot be imported \(ModuleNotFoundError"),
        ("", r"checks\.py lacks quote_names_the_city, which checks\.json names"),
        ("quote_names_the_city = 3", r"checks\.py holds no function under quote_names_the_city"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_on_one_line(tmp_path, written, why):
    code = CHECK if written is None or written.startswith(CHECK) else written
    with pytest.raises(PromptRefused, match=f"Prompt sort: .*{why}") as refused:
        parse(tmp_path, code=code, written=written)
    assert "\n" not in str(refused.value)


def test_a_file_that_was_not_pinned_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(PromptRefused, match="not what the run was pinned with"):
        parse(tmp_path, written=f"open({str(marker)!r}, 'w').close()")
    assert not marker.exists()


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "checks.py").write_bytes(b"\xff")
    with pytest.raises(PromptRefused, match="it is not UTF-8"):
        parse(tmp_path, written=None)


def test_the_same_text_is_imported_once(tmp_path):
    first, second = (parse(tmp_path)[0].find_fault for _ in range(2))
    assert first is second
    assert first.__module__ in sys.modules
    assert list(tmp_path.iterdir()) == [tmp_path / "checks.py"]


def test_without_a_function_rule_the_file_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w').close()"
    (tmp_path / "checks.py").write_text(code)
    parse_checks('{"row": []}', prompt="sort", code=code, path=tmp_path / "checks.py")
    assert not marker.exists()


def test_the_file_stands_in_the_prompts_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts" / "sort"
    folder.mkdir(parents=True)
    (folder / "checks.py").write_text(CHECK)
    row = [{"rule": "function", "name": "says_much"}]
    assert len(parse_checks(json.dumps({"row": row}), prompt="sort", code=CHECK).row) == 1
