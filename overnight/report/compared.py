"""A step measured, held against the run before it, and kept."""

from __future__ import annotations

from overnight.checks import Checks, parse_checks
from overnight.failures import PromptRefused
from overnight.ledger import Ledger
from overnight.ledger.measures import Measures, find_measures, find_reference, record_measures
from overnight.ledger.queries import get_run
from overnight.place import PartsPlace
from overnight.report.drift import compare_profiles
from overnight.report.kept import StepMeasures, dump_json, find_profile, is_comparable, read_measures
from overnight.report.measuring import measure_step


def compare_step(
    run_id: str, step: int, *, ledger: Ledger, place: PartsPlace, now: float, is_whole: bool = True
) -> StepMeasures:
    """
    Measure a step, compare it with the last night that was approved, and keep both.

    Args:
        run_id: The run.
        step: A step of it of which a batch was asked at least.
        ledger: Where it is kept.
        place: Where the parts are.
        now: Seconds since the epoch.
        is_whole: Whether all of its rows have been checked; half a step is kept, and compared with nothing.

    Raises:
        PartRefused: A part is missing, or altered.
        PromptRefused: `drift_since` names a run that has no figures of this prompt.
    """
    measured = measure_step(run_id, step, ledger=ledger, place=place)
    prompt = measured.prompt
    checks = parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code)
    reference = _find_reference(run_id, prompt.name, checks, ledger) if is_whole else None
    before = find_profile(reference) if reference else None
    changes = compare_profiles(before, measured.profile, checks.drift) if before else []
    kept = Measures(
        run_id=run_id,
        step=step,
        prompt_name=prompt.name,
        prompt_hash=prompt.prompt_hash,
        figures=dump_json(measured.figures),
        profile=dump_json(measured.profile),
        changes=dump_json(changes),
        compared_with=reference.run_id if reference and before else None,
        measured_at=now,
    )
    ledger.write(lambda connection: record_measures(connection, kept))
    return read_measures(kept)


def _find_reference(run_id: str, prompt: str, checks: Checks, ledger: Ledger) -> Measures | None:
    with ledger.reading() as connection:
        if get_run(connection, run_id)["kind"] != "night":
            return None
        since = checks.drift_since
        if since and not any(m.prompt_name == prompt for m in find_measures(connection, since).values()):
            raise PromptRefused(
                f"Prompt {prompt}: checks.json names run {since!r} at drift_since, which has no figures of this prompt."
                " Name the run whose changes are wanted, or take the line out, and run again."
            )
        return find_reference(connection, prompt, run_id, since=since, serves=is_comparable)
