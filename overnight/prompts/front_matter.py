"""Front matter: what a prompt declares about its model and its columns."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from overnight.keys import leave_out_manner
from overnight.prompts.refusals import refuse
from overnight.records import is_time_of_day

_FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n(.*)", re.DOTALL)

_MINUTES_A_DAY = 24 * 60
_MINUTES_OF_TWO_DIGITS = 100 * 60

_Column = Annotated[str, Field(min_length=1)]


_Model = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:\S+$")]


class Repair(BaseModel):
    """What is done where an answer does not do, besides asking again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    #: Asked where re-asks did not help.
    stronger: _Model | None = None
    #: Asked once where the model refuses.
    fallback: _Model | None = None
    #: The most that max_tokens is raised to.
    max_tokens: Annotated[int, Field(ge=1)] | None = None


def _read_by(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MINUTES_A_DAY:
        # YAML reads 22:30 as a number of base 60.
        raise ValueError(f'it is a number to YAML: put it in quotes, by: "{value // 60:02}:{value % 60:02}"')
    if type(value) is int and value >= _MINUTES_A_DAY:
        # As 24:00 is read, or a time with seconds: what was written is not known here.
        written = f", as {value // 60}:{value % 60:02} without quotes is" if value < _MINUTES_OF_TWO_DIGITS else ""
        raise ValueError(f'it is the number {value} to YAML{written}: write HH:MM in quotes, at the latest by: "23:59"')
    if value is not None and not (isinstance(value, str) and is_time_of_day(value)):
        raise ValueError(f'{value!r} is no time of a day: write it like by: "06:00", at the latest "23:59"')
    return value


class FrontMatter(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: _Model
    id: _Column | None = None
    inputs: Annotated[list[_Column], Field(min_length=1)]
    optional_inputs: list[_Column] = []
    private: list[_Column] = []
    parameters: dict[str, JsonValue] = {}
    repair: Repair = Repair()
    #: How rows are asked, and in batch mode by when: local time, HH:MM.
    mode: Literal["online", "batch"] = "online"
    by: Annotated[str | None, BeforeValidator(_read_by)] = None


class _Loader(yaml.SafeLoader):
    """Plain YAML: without tags, and without aliases, of which a few lines stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not allowed: write the value out")
        return super().compose_node(parent, index)


def split_text(name: str, text: str) -> tuple[FrontMatter, str]:
    match = _FRONT_MATTER.fullmatch(text)
    if match is None:
        refuse(name, "prompt.md", "has no front matter", "Begin it with YAML between two lines of ---.")
    try:
        front = FrontMatter.model_validate(yaml.load(match[1], _Loader))  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        refuse(name, "prompt.md", f"the front matter is not plain YAML ({error})", "Mend it; tags are not allowed.")
    except RecursionError:
        refuse(name, "prompt.md", "the front matter is nested too deeply", "Write it flat.")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        remedy = (
            "It takes model (PROVIDER:NAME), inputs, and where needed id, optional_inputs, private, parameters, repair,"
            " mode, by."
        )
        refuse(name, "prompt.md", f"the front matter has faults ({faults})", remedy)
    except ValueError as error:  # a date that is none
        refuse(name, "prompt.md", f"the front matter has a value that cannot be read ({error})", "Put it in quotes.")
    return front, match[2]


def check_columns(name: str, front: FrontMatter) -> None:
    columns = [*front.inputs, *front.optional_inputs]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        refuse(name, "prompt.md", f"{', '.join(twice)} is declared twice", "Name each input once, in one list.")
    if "max_completion_tokens" in front.parameters:
        remedy = "Give parameters.max_tokens: it is sent under the name that the provider takes."
        refuse(name, "prompt.md", "parameters.max_completion_tokens is not one that budgets know of", remedy)
    most = front.parameters.get("max_tokens", 1)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        refuse(name, "prompt.md", f"parameters.max_tokens is {most!r}", "Give a whole number from 1.")


def check_manner(name: str, text: str, front: FrontMatter) -> None:
    """The hash of a prompt leaves out these lines: what it could not leave out would ask all rows anew."""
    if front.by and front.mode != "batch":
        refuse(name, "prompt.md", f'by is "{front.by}" and mode is not batch', "Add mode: batch, or take by out.")
    if not front.model_fields_set & {"mode", "by"}:
        return
    left, _ = split_text(name, leave_out_manner(text))
    if stays := sorted(left.model_fields_set & {"mode", "by"}):
        remedy = "Begin a line with it, such as mode: batch, and end its value there."
        refuse(name, "prompt.md", f"{' and '.join(stays)} does not stand on a line of its own", remedy)


def check_private(name: str, front: FrontMatter, schema: str) -> None:
    """What is declared private has to be there: a wrong name would hide nothing."""
    known = {*front.inputs, *front.optional_inputs, *orjson.loads(schema).get("properties", {})}
    if unknown := sorted(set(front.private) - known):
        remedy = f"Name inputs, or fields of the output: {', '.join(sorted(known))}."
        refuse(name, "prompt.md", f"{', '.join(unknown)} is declared private and is neither", remedy)
