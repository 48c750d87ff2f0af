"""Why a row would be asked, though much has been answered before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import sqlalchemy as sa

from overnight.failures import PartRefused, PromptRefused
from overnight.keys import canonical_json, digest_bytes, request_key
from overnight.ledger.asked import PromptVersion, find_asked, find_newest_input, list_other_versions
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.records import Prompt
from overnight.settings import Settings

_NO_CHECKS = '{"row": [], "batch": []}'


class Reason(StrEnum):
    """Why there is no answer to use; where several hold, the first of them is told."""

    #: It is in a provider batch already, or its answer has come from one and is not judged yet: no call.
    WITH_PROVIDER = "with_provider"
    #: An earlier run asked in vain.
    NEVER_ANSWERED = "never_answered"
    #: The same was asked of another model, or of the same one elsewhere.
    CHANGED_MODEL = "changed_model"
    #: The same input was asked about under another version of the prompt.
    CHANGED_PROMPT = "changed_prompt"
    #: The row stood in the newest run's input with other values.
    CHANGED_ROW = "changed_row"
    NEW_ROW = "new_row"


def explain_misses(
    misses: Mapping[str, str], prompt: Prompt, versions: Sequence[PromptVersion], connection: sa.Connection
) -> dict[str, Reason]:
    """
    The reason of each request that was asked before in some way.

    Args:
        misses: Inputs as canonical JSON by request key; none has an answer or a refusal.
        prompt: What they would be asked.
        versions: What else was asked under the prompt's name.
        connection: To the ledger.
    """
    reasons = dict.fromkeys(find_asked(connection, list(misses)), Reason.NEVER_ANSWERED)
    by_reason = [(_compare(version, prompt), version) for version in versions]
    for reason in (Reason.CHANGED_MODEL, Reason.CHANGED_PROMPT):
        for version in (v for r, v in by_reason if r is reason):
            left = {request_key(text, version.prompt_hash): key for key, text in misses.items() if key not in reasons}
            reasons |= {left[other]: reason for other in find_asked(connection, list(left))}
    return reasons


def list_versions(prompt: Prompt, connection: sa.Connection) -> list[PromptVersion]:
    """What else was asked under the prompt's name, newest first."""
    return list_other_versions(connection, prompt.name, prompt.prompt_hash)


def count_changed_rows(rows: Mapping[str, str], prompt: Prompt, connection: sa.Connection, settings: Settings) -> int:
    """
    How many of the rows the newest run has read with another input.

    Args:
        rows: Digests of the inputs by row id.
        prompt: Whose newest input is looked through, a part at a time.
        connection: To the ledger.
        settings: Where that input's parts are; one that is missing or altered tells nothing.
    """
    n_changed = 0
    for batch in find_newest_input(connection, prompt.name) if rows else []:
        try:
            before = read_part(batch.part, settings.parts).select(["row_id", "input"])
        except PartRefused:
            continue
        n_changed += sum(
            row["input"] is not None
            and rows.get(row["row_id"], digest_input(row["input"])) != digest_input(row["input"])
            for row in before.to_pylist()
        )
    return n_changed


def digest_input(input_json: str) -> str:
    """What is kept of an input to tell whether another is the same."""
    return digest_bytes(input_json.encode())


def _compare(version: PromptVersion, prompt: Prompt) -> Reason:
    """Which of the two has changed: the prompt, or only where it is sent."""
    if (version.model, version.endpoint) == (prompt.model, prompt.endpoint):
        return Reason.CHANGED_PROMPT
    asks_the_same = (
        version.schema == prompt.schema
        and version.parameters == canonical_json(dict(prompt.parameters)).decode()
        and _template_of(version) == prompt.template
    )
    return Reason.CHANGED_MODEL if asks_the_same else Reason.CHANGED_PROMPT


def _template_of(version: PromptVersion) -> str | None:
    """Without its front matter, which names the model; None where today's rules cannot read it."""
    try:
        return parse_prompt(version.name, text=version.text, schema=version.schema, checks=_NO_CHECKS).template
    except PromptRefused:
        return None
