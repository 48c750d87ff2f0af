"""The report of a run says how it was reviewed, and how its readers have read so far."""

from __future__ import annotations

from overnight.approve import Answers
from overnight.report.measure import measure, render_markdown
from tests.conftest import RUN, House


def test_a_run_that_nobody_has_read_says_nothing_of_readers(house: House) -> None:
    house.offer(40)
    assert measure(RUN, ledger=house.ledger, place=house.home, now=3.0).reviews == ()


def test_the_report_has_each_round_and_the_record_of_each_reader(house: House) -> None:
    release = house.offer(40, n_reviewers=2)
    stamped = Answers(decision="release", reviewer="Ada", items={i.item: "correct" for i in release.items})
    house.submit(release, stamped)
    for reader in ("Ada", "Ben"):
        release = house.open_round(release)
        read = house.answer(release, reviewer=reader).model_copy(update={"seconds": 2.0 * len(release.items)})
        house.submit(release, read)
    report = measure(RUN, ledger=house.ledger, place=house.home, now=3.0)
    n_rows = len(release.items) - release.n_seeds
    *rounds, ada, ben = report.reviews
    assert [line.split(":")[0] for line in rounds] == [
        "Round 1, Ada, missed",
        "Round 2, Ada, second",
        "Round 3, Ben, approved",
    ]
    assert ada == f"Ada: 3 of 6 seeds caught in 2 reviews, 2.0 s a row, {n_rows} of {n_rows} rows as the other reader"
    assert ben.startswith("Ben: 3 of 3 seeds caught in 1 review, 2.0 s a row")
    assert "## Review" in render_markdown(report)
