import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import PromptRefused
from overnight.keys import checks_hash
from overnight.prompts import load_prompt, parse_prompt, render

ROOT = Path(__file__).parents[2]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label"],
    "properties": {"label": {"type": "string"}},
}
CHECKS = '{"row": [], "batch": []}'
FRONT = "model: local:tiny\ninputs: [body]\n"


def make(template="{{ body }}", *, front=FRONT, schema=SCHEMA, checks=CHECKS):
    schema = schema if isinstance(schema, str) else json.dumps(schema)
    return parse_prompt("sort", text=f"---\n{front}---\n{template}", schema=schema, checks=checks)


def test_a_prompt_carries_what_its_front_matter_declares():
    front = FRONT + "id: ticket\noptional_inputs: [subject]\nparameters: {max_tokens: 10, temperature: 0}\n"
    prompt = make(front=front)
    assert (prompt.model, prompt.id_column, prompt.inputs) == ("local:tiny", "ticket", ("body",))
    assert prompt.optional_inputs == ("subject",)
    assert prompt.parameters == {"max_tokens": 10, "temperature": 0}
    assert prompt.checks_hash == checks_hash(CHECKS)
    assert prompt.prompt_hash == ""


def test_a_folder_and_its_pinned_texts_make_the_same_prompt():
    prompt = load_prompt("triage_ticket", ROOT / "prompts")
    assert parse_prompt(prompt.name, text=prompt.text, schema=prompt.schema, checks=prompt.checks) == prompt


def write_folder(root, **files):
    folder = root / "sort"
    folder.mkdir()
    texts = {"prompt.md": f"---\n{FRONT}---\n{{{{ body }}}}", "output.schema.json": json.dumps(SCHEMA)}
    for name, text in (texts | {"checks.json": CHECKS} | files).items():
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


def test_a_folder_may_do_without_checks_of_its_own_in_python(tmp_path):
    write_folder(tmp_path)
    assert load_prompt("sort", tmp_path).code == ""


def test_checks_in_python_are_read_and_hashed_and_not_run(tmp_path):
    code = "raise SystemExit\n"
    write_folder(tmp_path, **{"checks.py": code})
    prompt = load_prompt("sort", tmp_path)
    assert prompt.code == code
    assert prompt.checks_hash == checks_hash(CHECKS, code) != checks_hash(CHECKS)
    assert parse_prompt("sort", text=prompt.text, schema=prompt.schema, checks=CHECKS, code=code) == prompt


def test_checks_in_python_that_are_no_text_are_refused(tmp_path):
    write_folder(tmp_path, **{"checks.py": b"\xff"})
    with pytest.raises(PromptRefused, match=r"checks\.py: is not UTF-8"):
        load_prompt("sort", tmp_path)


def test_checks_may_limit_the_share_of_quarantined_rows():
    checks = '{"row": [], "batch": [], "max_quarantined": 0.1}'
    assert make(checks=checks).checks == checks


@pytest.mark.parametrize("name", ["triage_ticket", "route_banking_query"])
def test_the_shipped_prompts_load_and_render(name):
    prompt = load_prompt(name, ROOT / "prompts")
    values = dict.fromkeys((*prompt.inputs, *prompt.optional_inputs), "some words")
    system, user = render(prompt, values)
    assert system
    assert "some words" in user
    assert "some words" not in system


def test_the_shipped_intents_stand_in_the_text_and_in_the_schema():
    prompt = load_prompt("route_banking_query", ROOT / "prompts")
    labels = json.loads(prompt.schema)["properties"]["intent"]["enum"]
    assert len(set(labels)) == 77
    assert all(label in prompt.text for label in labels)


def test_a_missing_folder_names_those_that_exist():
    with pytest.raises(PromptRefused, match=r"'nope'.*route_banking_query, triage_ticket"):
        load_prompt("nope", ROOT / "prompts")


def test_a_name_cannot_leave_the_folder():
    with pytest.raises(PromptRefused, match="no prompt"):
        load_prompt("../prompts/triage_ticket", ROOT / "prompts")


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "sort").mkdir()
    (tmp_path / "sort/prompt.md").write_text(f"---\n{FRONT}---\n{{{{ body }}}}")
    with pytest.raises(PromptRefused, match=r"output\.schema\.json: cannot be read"):
        load_prompt("sort", tmp_path)


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "sort").mkdir()
    (tmp_path / "sort/prompt.md").write_bytes(b"---\n\xff")
    with pytest.raises(PromptRefused, match=r"prompt\.md: is not UTF-8"):
        load_prompt("sort", tmp_path)


def test_without_blocks_everything_is_the_users_message():
    assert render(make("Sort this: {{ body }}\n"), {"body": "x"}) == (None, "Sort this: x")


def test_blocks_part_the_system_text_from_the_users():
    prompt = make("{% block system %}\nSort.\n{% endblock %}\n{% block user %}\n{{ body }}\n{% endblock %}\n")
    assert render(prompt, {"body": "x"}) == ("Sort.", "x")


@given(st.text())
def test_a_row_is_a_value_and_never_a_template(body):
    assert render(make("<{{ body }}>"), {"body": body}) == (None, f"<{body}>")


@pytest.mark.parametrize("body", ["{{7*7}}", "{% raw %}", "{{ self.__init__.__globals__ }}", "<b>&amp;</b>"])
def test_what_looks_like_a_template_or_markup_stays_as_it_is(body):
    assert render(make(), {"body": body})[1] == body


def test_a_template_that_fails_on_a_value_is_refused_with_its_name():
    with pytest.raises(PromptRefused, match="'sort' fails on a row"):
        render(make("{{ body / 2 }}"), {"body": "x"})


def test_a_value_that_was_not_given_is_refused():
    with pytest.raises(PromptRefused, match="'body' is undefined"):
        render(make(), {})


def test_a_template_cannot_reach_into_python():
    with pytest.raises(PromptRefused, match="unsafe"):
        render(make("{{ body.__class__.__mro__ }}"), {"body": "x"})


@pytest.mark.parametrize(
    ("front", "why"),
    [
        ("inputs: [body]\n", "model: Field required"),
        ("model: tiny\ninputs: [body]\n", "model: String should match"),
        ("model: local:tiny\n", "inputs: Field required"),
        ("model: local:tiny\ninputs: []\n", "inputs: List should have at least 1"),
        ("model: local:tiny\ninputs: body\n", "inputs: Input should be a valid list"),
        (FRONT + "temperature: 0\n", "temperature: Extra inputs"),
        (FRONT + "optional_inputs: [body]\n", "body is declared twice"),
        (FRONT + "parameters: {max_tokens: 0}\n", "max_tokens is 0"),
        (FRONT + "parameters: {max_completion_tokens: 9}\n", "max_completion_tokens is not one that budgets know of"),
        (FRONT + "parameters: {max_tokens: true}\n", "max_tokens is True"),
        (FRONT + "parameters: {max_tokens: many}\n", "max_tokens is 'many'"),
        (FRONT + "id: !!python/object/apply:os.getcwd []\n", "not plain YAML"),
        ("model: [\n", "not plain YAML"),
        ("just words\n", "has faults"),
    ],
)
def test_faulty_front_matter_is_refused_on_one_line(front, why):
    with pytest.raises(PromptRefused) as caught:
        make(front=front)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_without_front_matter_is_refused():
    with pytest.raises(PromptRefused, match="no front matter"):
        parse_prompt("sort", text="{{ body }}", schema=json.dumps(SCHEMA), checks=CHECKS)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ body }} {{ customer }}", "uses customer, which is not declared"),
        ("{% for i in range(3) %}{{ body }}{% endfor %}", "uses range"),
        ("{{ body ", "the template fails at its line 1"),
        ("{{ body | random }}", "No filter named 'random'"),
        ("{% include 'other' %}", "takes in another one"),
        ("{% block system %}x{% endblock %}", "no block user"),
        ("{% block user %}{{ body }}{% endblock %}{% block extra %}{% endblock %}", "other blocks"),
        ("Lost text {% block user %}{{ body }}{% endblock %}", "text outside them"),
        ("{{ body }} {% block user %}{{ body }}{% endblock %}", "text outside them"),
    ],
)
def test_a_template_that_could_not_be_sent_whole_is_refused(template, why):
    with pytest.raises(PromptRefused, match=why):
        make(template)


NESTED = {**SCHEMA, "properties": {"label": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}}}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ({**SCHEMA, "type": "objct"}, "is not a JSON schema"),
        ({**SCHEMA, "properties": {"label": {"pattern": "("}}}, "is not a JSON schema"),
        ({**SCHEMA, "properties": {"label": {"$ref": "http://schemas.invalid/x"}}}, "is not a JSON schema"),
        ({**SCHEMA, "type": "array"}, "describes no object"),
        ({"type": "object"}, "describes no object"),
        ({**SCHEMA, "additionalProperties": True}, "is open or has optional properties"),
        ({**SCHEMA, "required": []}, "is open or has optional properties"),
        (NESTED, "property 'items' is open"),
        ({**SCHEMA, "properties": {"row_id": {}, "model": {}}, "required": ["row_id", "model"]}, "model, row_id"),
    ],
)
def test_a_schema_that_strict_output_would_not_take_is_refused(schema, why):
    with pytest.raises(PromptRefused, match=why):
        make(schema=schema)


@pytest.mark.parametrize("checks", ["", "[]", "{}", '{"row": []}', '{"row": [], "batch": {}}'])
def test_checks_without_their_two_lists_are_refused(checks):
    with pytest.raises(PromptRefused, match=r"checks\.json"):
        make(checks=checks)
