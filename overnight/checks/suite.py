"""The child's side: a suite of expectations over rows; the only file that imports Great Expectations."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.checkpoint.checkpoint import CheckpointResult
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier
from great_expectations.exceptions.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from overnight.checks.docs_index import list_validation
from overnight.checks.judgement import Outcome, find_fault, flatten_row, judge
from overnight.failures import SuiteRefused
from overnight.records import BatchVerdict

_SITE = "docs"
#: Which rule of the suite a result speaks of: results come back in another order.
_PLACE = "overnight_place"
#: Of a result, what holds no value of a row.
_COUNTS = {
    *("element_count", "unexpected_count", "unexpected_percent", "missing_count", "missing_percent"),
    *("unexpected_percent_total", "unexpected_percent_nonmissing"),
}
#: Every unexpected row is listed, under its number.
_RESULT_FORMAT: Any = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": ["row_number"],
    "return_unexpected_index_query": False,
}


def run_suite(
    rows: Sequence[Mapping[str, Any]],
    rules: Sequence[Mapping[str, Any]],
    *,
    suite_name: str,
    docs_dir: Path,
    private: Sequence[str] = (),
) -> BatchVerdict:
    """
    Judge the rows by the rules, and write the validation to the Data Docs site under `docs_dir`.

    Where the prompt declares anything private, the page has counts and no value of a row: one may stand in another.

    Raises:
        SuiteRefused: A rule is unknown, wrongly written, or cannot be judged on these rows.
    """
    flat = [flatten_row(row) for row in rows]
    name = re.sub(r"[^\w-]+", "-", suite_name)
    context = _open_context(docs_dir)
    try:
        ran = _run_checkpoint(context, name, [_build_rule(n, rule) for n, rule in enumerate(rules)], _build_frame(flat))
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise SuiteRefused(
            f"The batch checks of {suite_name} do not run: {_tell(error)} Correct checks.json."
        ) from error
    verdict = judge(_sort_outcomes(ran, rules), flat, private)
    if private:
        _forget_values(context, ran)
    return dataclasses.replace(verdict, docs=str(_write_docs(context, ran, verdict, name, docs_dir)))


def _open_context(docs_dir: Path) -> EphemeralDataContext:
    """One context a call, in memory: shared ones give silently wrong results."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    # Any: their type of a site lacks a key that their documentation has.
    site: Any = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs_dir.absolute())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.add_data_docs_site(_SITE, site)
    return context


def _build_rule(place: int, rule: Mapping[str, Any]) -> Expectation:
    """
    The expectation that one entry of checks.json spells out.

    Built one by one: a suite that is given entries drops those it finds invalid, and says so only in its log.
    """
    meta = {**(rule.get("meta") or {}), _PLACE: place}
    try:
        return ExpectationConfiguration(**{**rule, "meta": meta}).to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError, KeyError) as error:
        label = Outcome(rule, success=False, result={}, fault=None).label
        raise SuiteRefused(
            f"Batch rule {label} is not one that Great Expectations accepts: {_tell(error)} Correct it in checks.json."
        ) from error


def _build_frame(flat: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns of plain values: one null in a batch must not turn whole numbers into floats."""
    columns = dict.fromkeys(name for row in flat for name in row)
    return pd.DataFrame({name: [row.get(name) for row in flat] for name in columns}, dtype=object)


def _run_checkpoint(
    context: EphemeralDataContext, name: str, rules: list[Expectation], frame: pd.DataFrame
) -> CheckpointResult:
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=rules))
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("outputs")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=asset.add_batch_definition_whole_dataframe("batch"), suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=[definition], result_format=_RESULT_FORMAT)
    )
    return checkpoint.run(batch_parameters={"dataframe": frame})


def _sort_outcomes(ran: CheckpointResult, rules: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    found = {}
    for result in next(iter(ran.run_results.values())).results:
        config = result.expectation_config
        if config is not None and config.meta:
            place = config.meta[_PLACE]
            fault = find_fault(result.exception_info or {})
            found[place] = Outcome(rules[place], bool(result.success), result.result or {}, fault)
    if len(found) != len(rules):
        raise SuiteRefused(
            f"Great Expectations judged {len(found)} of {len(rules)} batch rules. Remove rules that are there twice."
        )
    return [found[place] for place in sorted(found)]


def _forget_values(context: EphemeralDataContext, ran: CheckpointResult) -> None:
    """Leave of each result what can be said without a value: pages are rendered from what the store holds."""
    for identifier, validation in ran.run_results.items():
        for result in validation.results:
            result.result = {k: v for k, v in (result.result or {}).items() if k in _COUNTS}
        context.validation_results_store.set(identifier, validation)


def _write_docs(
    context: EphemeralDataContext, ran: CheckpointResult, verdict: BatchVerdict, name: str, docs_dir: Path
) -> Path:
    """
    The page of this validation; index.html where it could not be rendered.

    The site's index is our own: that of Great Expectations deletes every page that this context did not make.
    """
    # Any: it is untyped in part, and a list of both kinds of identifier is what their own action passes.
    identifier: Any = next(iter(ran.run_results))
    pages: list[Any] = [identifier, ExpectationSuiteIdentifier(name=name)]
    context.build_data_docs(site_names=[_SITE], resource_identifiers=pages, build_index=False)
    page = Path("validations", *identifier.to_tuple()).with_suffix(".html")
    index = list_validation(docs_dir, page=page, suite_name=name, verdict=verdict, run_at=identifier.run_id.run_time)
    return docs_dir.absolute() / page if (docs_dir / page).exists() else index


def _tell(error: BaseException) -> str:
    """The error on one line, with a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
