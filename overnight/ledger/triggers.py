"""
What the database itself refuses, whoever writes: no outbox row without its consumed approval, no record rewritten.

A migration may drop triggers and say nothing, so each one is dropped before, made again after, and looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.ledger.release_schema import DECIDED

_PREFIX = "overnight"


@dataclass(frozen=True)
class _Trigger:
    name: str
    table: str
    #: INSERT, UPDATE or DELETE.
    event: str
    #: When it is refused, in SQL; {differs} compares what may be null.
    condition: str
    message: str


def _changes(*columns: str) -> str:
    return " OR ".join(f"NEW.{column} {{differs}} OLD.{column}" for column in columns)


_RELEASED = """
    SELECT 1 FROM approvals a JOIN release_rows r ON r.release_id = a.release_id
    LEFT JOIN corrections c ON c.approval_id = a.approval_id AND c.position = r.position
    WHERE a.approval_id = NEW.approval_id AND a.state = 'consumed' AND r.position = NEW.position
      AND coalesce(c.payload, r.payload) = NEW.payload AND r.row_id = NEW.row_id
      AND CASE WHEN NEW.follows IS NULL THEN coalesce(c.delivery_key, r.delivery_key) = NEW.delivery_key ELSE EXISTS (
        SELECT 1 FROM outbox o JOIN approvals b ON b.approval_id = o.approval_id
        WHERE o.delivery_key = NEW.follows AND o.row_id = NEW.row_id AND o.payload <> NEW.payload AND b.sink = a.sink
          AND b.turn < a.turn
      ) END
"""
_HELD = "SELECT 1 FROM held_rows h WHERE h.approval_id = NEW.approval_id AND h.position = NEW.position"
#: An answer in the inbox is what an approval for that inbox has promised of that row, and is being delivered.
_ANSWERED = """
    SELECT 1 FROM outbox o JOIN approvals a ON a.approval_id = o.approval_id
    WHERE o.delivery_key = NEW.delivery_key AND o.row_id = NEW.row_id AND o.state = 'sending'
      AND a.state = 'consumed' AND a.sink = 'inbox:' || NEW.prompt
"""
_RELEASED_TO = ("answer", "delivery_key", "row_id", "prompt")
_PROMISED = ("approval_id", "position", "delivery_key", "follows", "row_id", "payload", "promised_at")

_TRIGGERS = (
    _Trigger(
        "outbox_needs_approval",
        "outbox",
        "INSERT",
        f"NEW.state <> 'promised' OR NOT EXISTS ({_RELEASED}) OR EXISTS ({_HELD})",
        "no row enters the outbox without a consumed approval of these bytes",
    ),
    _Trigger(
        "outbox_keeps_promises", "outbox", "UPDATE", _changes(*_PROMISED), "what was promised is not changed afterwards"
    ),
    _Trigger(
        "outbox_keeps_deliveries",
        "outbox",
        "UPDATE",
        "OLD.state IN ('delivered', 'earlier') AND NEW.state NOT IN (OLD.state, 'recalled')",
        "what was delivered can be recalled, and nothing else",
    ),
    _Trigger(
        "approvals_begin_unused",
        "approvals",
        "INSERT",
        "NEW.state <> 'approved' OR NEW.signature IS NULL",
        "an approval begins signed and unused",
    ),
    _Trigger(
        "approvals_are_used_once",
        "approvals",
        "UPDATE",
        f"NOT (OLD.state = 'approved' AND NEW.state = 'consumed') OR {_changes(*DECIDED)}",
        "an approval is used up once, and not changed otherwise",
    ),
    _Trigger("releases_stay", "releases", "UPDATE", "1 = 1", "a release is not changed after it was offered"),
    _Trigger(
        "release_rows_stay", "release_rows", "UPDATE", "1 = 1", "the rows of a release are not changed afterwards"
    ),
    _Trigger("held_rows_stay", "held_rows", "UPDATE", "1 = 1", "a held row stays held"),
    _Trigger("corrections_stay", "corrections", "UPDATE", "1 = 1", "a correction is not changed afterwards"),
    _Trigger("draws_stay", "draws", "UPDATE", "1 = 1", "what a reviewer was shown is not changed afterwards"),
    _Trigger("drawn_items_stay", "drawn_items", "UPDATE", "1 = 1", "a seed stays a seed, and a row a row"),
    _Trigger("review_answers_stay", "review_answers", "UPDATE", "1 = 1", "what somebody answered is not changed"),
    _Trigger("verdicts_stay", "verdicts", "UPDATE", "1 = 1", "a verdict is not changed afterwards"),
    _Trigger(
        "reviewers_burn_codes", "reviewers", "UPDATE", "NEW.last_step < OLD.last_step", "a code is taken once at most"
    ),
    _Trigger(
        "inbox_begins_unanswered",
        "inbox",
        "INSERT",
        "NEW.answer IS NOT NULL OR NEW.state <> 'queued'",
        "a request comes in without an answer",
    ),
    _Trigger(
        "inbox_needs_approval",
        "inbox",
        "UPDATE",
        f"NEW.answer IS NOT NULL AND ({_changes(*_RELEASED_TO)}) AND NOT EXISTS ({_ANSWERED})",
        "a request is answered by what a consumed approval lets out, and by nothing else",
    ),
    *(
        _Trigger(f"{table}_are_kept", table, "DELETE", "1 = 1", f"nothing is deleted from {table}")
        for table in (
            "approvals",
            "corrections",
            "drawn_items",
            "draws",
            "held_rows",
            "inbox",
            "outbox",
            "release_rows",
            "releases",
            "review_answers",
            "reviewers",
            "verdicts",
        )
    ),
)


def drop_triggers(connection: sa.Connection) -> None:
    """Take all of them away, for a migration that rewrites their tables."""
    tables = set(sa.inspect(connection).get_table_names())
    for trigger in _TRIGGERS:
        if trigger.table in tables:
            on = f" ON {trigger.table}" if _is_postgres(connection) else ""
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {_name(trigger)}{on}")


def make_triggers(connection: sa.Connection) -> None:
    """Put all of them in place, and see that they are there."""
    for trigger in _TRIGGERS:
        for statement in _write(trigger, is_postgres=_is_postgres(connection)):
            connection.exec_driver_sql(statement)
    refuse_missing(connection)


def refuse_missing(connection: sa.Connection) -> None:
    """
    See that each trigger is there, as it was made.

    Raises:
        LedgerRefused: One is missing, switched off or altered.
    """
    postgres = _is_postgres(connection)
    found = {row[0]: row[1] for row in connection.exec_driver_sql(_IN_POSTGRES if postgres else _IN_SQLITE)}
    for trigger in _TRIGGERS:
        wanted = _write_function_body(trigger) if postgres else _write(trigger, is_postgres=False)[0]
        if found.get(_name(trigger)) != wanted:
            raise LedgerRefused(
                f"The ledger's trigger {_name(trigger)} is missing or altered, so nothing leaves. Find out who changed"
                " it, and restore the ledger from a backup."
            )


#: Of each trigger that is in force, what it does.
_IN_SQLITE = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
_IN_POSTGRES = """
    SELECT t.tgname, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid)
"""


def _is_postgres(connection: sa.Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _name(trigger: _Trigger) -> str:
    return f"{_PREFIX}_{trigger.name}"


def _write(trigger: _Trigger, *, is_postgres: bool) -> list[str]:
    name, at = _name(trigger), f"BEFORE {trigger.event} ON {trigger.table}"
    if not is_postgres:
        condition = trigger.condition.format(differs="IS NOT")
        refusal = f"SELECT RAISE(ABORT, 'overnight: {trigger.message}')"
        return [f"CREATE TRIGGER {name} {at} WHEN {condition} BEGIN {refusal}; END"]
    function = (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${_write_function_body(trigger)}$$"
    )
    return [function, f"CREATE TRIGGER {name} {at} FOR EACH ROW EXECUTE FUNCTION {name}()"]


def _write_function_body(trigger: _Trigger) -> str:
    condition = trigger.condition.format(differs="IS DISTINCT FROM")
    refusal = f"RAISE EXCEPTION 'overnight: {trigger.message}' USING ERRCODE = 'check_violation'"
    going_on = "OLD" if trigger.event == "DELETE" else "NEW"
    return f"BEGIN IF {condition} THEN {refusal}; END IF; RETURN {going_on}; END"
