"""A reviewer at Prefect's UI: the page of a flow run and the form behind its menu."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.acceptance.waiting import wait_for

# A page shows what the server says, and on a busy machine that takes longer than the 5 s of the default.
expect.set_options(timeout=30_000)

#: Where pictures are kept, if anywhere.
_FOLDER = os.environ.get("OVERNIGHT_SCREENSHOTS")


class ReviewPage:
    """The page of one flow run in the V2 UI."""

    def __init__(self, page: Page, ui: str, flow_run_id: str) -> None:
        self._page = page
        self._address = f"{ui}/v2/runs/flow-run/{flow_run_id}"
        self._form = page.get_by_role("dialog")
        # The UI asks an outside host at each load: the stories reach nobody but this machine.
        page.route(lambda url: not url.startswith(ui), lambda route: route.abort())

    def open(self, tab: str) -> None:
        self._page.goto(self._address)
        self._page.get_by_role("tab", name=tab).click()

    def open_form(self) -> None:
        self._page.get_by_role("button", name="Open menu").click()
        self._page.get_by_role("menuitem", name="Resume").click()
        expect(self._choice("Decision")).to_be_visible()

    def read_choice(self, title: str) -> str:
        """What is chosen; "Select" where nothing is."""
        return self._choice(title).inner_text()

    def choose(self, title: str, value: str) -> None:
        self._choice(title).click()
        self._page.get_by_role("option", name=value, exact=True).click()

    def write(self, title: str, value: str) -> None:
        self._form.get_by_label(title).fill(value)

    def submit(self) -> None:
        self._form.get_by_role("button", name="Resume", exact=True).click()

    def expect_refused(self) -> None:
        """The form is still there, and names what is missing."""
        expect(self._page.get_by_text("is a required property")).to_be_visible()
        expect(self._form).to_be_visible()

    def expect_sent(self) -> None:
        """The form is gone; a server that is busy may ask for it to be sent once more."""
        try:
            expect(self._form).to_be_hidden()
        except AssertionError:
            self.submit()
            expect(self._form).to_be_hidden()

    def open_artifact(self, key: str, artifact_id: str) -> None:
        """From the tab of the artifacts to one of them, by the page of its key."""
        self._page.get_by_text(key, exact=True).first.click()
        self._page.get_by_role("link", name=artifact_id[:8]).click()

    def expect_text(self, text: str) -> None:
        expect(self._page.get_by_text(text).first).to_be_visible()

    def save_now(self, name: str) -> None:
        """Keep a picture of what is shown, where somebody asked for one; a page of what goes on is never still."""
        if _FOLDER:
            self._page.screenshot(path=Path(_FOLDER, name))

    def expect_state(self, name: str) -> None:
        expect(self._page.get_by_text(name, exact=True).first).to_be_visible()

    def save_form(self, name: str, *, at: str) -> None:
        """Keep a picture of the form, scrolled to a choice, where somebody asked for one."""
        self._choice(at).evaluate("choice => choice.scrollIntoView({block: 'center'})")
        if _FOLDER:
            self._page.screenshot(path=Path(_FOLDER, name))

    def save(self, name: str) -> None:
        """Keep a picture of the page of a run that has ended, where somebody asked for one."""
        expect(self._page.locator("canvas")).to_be_visible()
        if _FOLDER:
            Path(_FOLDER, name).write_bytes(wait_for(self._find_still, "the page to be drawn"))

    def _find_still(self) -> bytes | None:
        """A picture of the page that does not change any more."""
        first, second = self._page.screenshot(), self._page.screenshot()
        return second if first == second else None

    def _choice(self, title: str) -> Locator:
        return self._form.get_by_role("button", name=f"Select {title}", exact=True)
