"""The row rules as checks.json has them; each may say with `reask` what the model is told where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

from overnight.checks.language import list_languages

Name = Annotated[str, Field(min_length=1)]
_Words = Annotated[str, Field(pattern=r"\S")]
_Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_AS_WRITTEN = with_config(ConfigDict(extra="forbid", strict=True))


@_AS_WRITTEN
@dataclass(frozen=True)
class Verbatim:
    """The field is a non-empty exact piece of the named input."""

    field: Name
    of: Name
    reask: _Words | None = None
    rule: Literal["verbatim"] = "verbatim"


@_AS_WRITTEN
@dataclass(frozen=True)
class MaxChars:
    """The field has at most `limit` characters."""

    field: Name
    limit: Annotated[int, Field(gt=0)]
    reask: _Words | None = None
    rule: Literal["max_chars"] = "max_chars"


@_AS_WRITTEN
@dataclass(frozen=True)
class LengthRatio:
    """The field has at least and at most these shares of the named input's characters."""

    field: Name
    of: Name
    least: _Share | None = None
    most: _Share | None = None
    reask: _Words | None = None
    rule: Literal["length_ratio"] = "length_ratio"

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise ValueError('it takes "least", "most" or both')
        if self.least is not None and self.most is not None and self.least >= self.most:
            raise ValueError('"least" is not less than "most"')


@_AS_WRITTEN
@dataclass(frozen=True)
class Forbidden:
    """None of the phrases stands in the field, whatever their case."""

    field: Name
    phrases: Annotated[tuple[Name, ...], Field(min_length=1)]
    reask: _Words | None = None
    rule: Literal["forbidden"] = "forbidden"


@_AS_WRITTEN
@dataclass(frozen=True)
class NotEcho:
    """The field is not the named input again, apart from case and white space."""

    field: Name
    of: Name
    reask: _Words | None = None
    rule: Literal["not_echo"] = "not_echo"


@_AS_WRITTEN
@dataclass(frozen=True)
class Hedge:
    """The field is no apology, refusal or doubt about the task; where it is `unknown`, it is asked for once more."""

    field: Name
    #: In place of the list in `hedges`; whole words, whatever their case.
    phrases: Annotated[tuple[_Words, ...], Field(min_length=1)] | None = None
    #: A value that the schema allows for "the input does not tell".
    unknown: Name | None = None
    reask: _Words | None = None
    rule: Literal["hedge"] = "hedge"


@_AS_WRITTEN
@dataclass(frozen=True)
class Language:
    """The field is in the language with this ISO 639-1 code, or in that of the named input."""

    field: Name
    code: Annotated[Name | None, Field(alias="is")] = None
    of: Name | None = None
    reask: _Words | None = None
    rule: Literal["language"] = "language"

    def __post_init__(self) -> None:
        if (self.code is None) == (self.of is None):
            raise ValueError('it takes one of "is" and "of"')
        if self.code is not None and self.code not in list_languages():
            raise ValueError(f'the language "{self.code}" is not known; give its ISO 639-1 code, such as "en"')


@_AS_WRITTEN
@dataclass(frozen=True)
class Distinct:
    """No more than `limit` inputs of a batch have the same value in the field."""

    field: Name
    limit: Annotated[int, Field(gt=0)]
    reask: _Words | None = None
    rule: Literal["distinct"] = "distinct"


@_AS_WRITTEN
@dataclass(frozen=True)
class Function:
    """A function of this name in the prompt folder's checks.py finds nothing wrong."""

    name: Name
    reask: _Words | None = None
    rule: Literal["function"] = "function"


FieldRule = Verbatim | MaxChars | LengthRatio | Forbidden | NotEcho | Hedge | Language | Distinct
WrittenRule = FieldRule | Function
