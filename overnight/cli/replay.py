"""`overnight replay`: a recorded request sent again; what was answered then and now."""

from __future__ import annotations

import click

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.settings import Settings


def replay_request(
    name: str,
    *,
    run_id: str | None,
    model: str | None,
    prompt_name: str | None,
    times: int,
    as_json: bool,
    show_private: bool,
) -> int:
    """Send the request again and print the comparison; 1 where no answer of it would have been accepted."""
    from overnight.complete.recorded import get_recorded  # noqa: PLC0415 - late: half a second of imports
    from overnight.complete.replay import replay  # noqa: PLC0415 - the same
    from overnight.report.naming import get_request_key  # noqa: PLC0415 - the same
    from overnight.report.replay import as_object, describe  # noqa: PLC0415 - the same

    settings = Settings.from_env()
    ledger = get_ledger(settings)
    key, run = get_request_key(name, run_id=run_id, ledger=ledger, place=settings.parts)
    with ledger.reading() as connection:
        recorded = get_recorded(connection, key, run)
    done = replay(
        recorded,
        model=model,
        prompt_name=prompt_name,
        times=times,
        asked_by=settings.started_by or find_login(),
        ledger=ledger,
        settings=settings,
    )
    if as_json:
        print_json(as_object(done, show_private=show_private))
    else:
        click.echo(describe(done, show_private=show_private))
    return 0 if any(answer.failure_class is None for answer in done.answers) else 1
