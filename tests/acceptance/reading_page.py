"""A reader at the review page, by keyboard alone."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page, expect

# A busy machine takes longer than the 5 s of the default.
expect.set_options(timeout=30_000)

#: Where pictures are kept, if anywhere.
_FOLDER = os.environ.get("OVERNIGHT_SCREENSHOTS")
_AT_ITEM = """words => {
  const found = document.activeElement;
  return found && found.tagName === "H1" && found.textContent.startsWith(words);
}"""


class ReadingPage:
    """The page of one review in a browser."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)
        self.expect_heading("rows wait for your reading")

    def press(self, key: str) -> None:
        self._page.keyboard.press(key)

    def type(self, text: str) -> None:
        self._page.keyboard.insert_text(text)

    def expect_heading(self, words: str) -> None:
        """The page is there, and its heading is where a screen reader goes on."""
        expect(self._page.get_by_role("heading", level=1)).to_contain_text(words)

    def expect_item(self, number: int) -> None:
        """The item is there, and its heading, where a screen reader goes on, has the focus."""
        # At each frame: sixty items at the pace of `expect` would take half a minute.
        self._page.wait_for_function(_AT_ITEM, arg=f"Item {number} of", polling="raf")

    def expect_typing(self, name: str) -> None:
        """What is typed now goes into this field."""
        expect(self._page.get_by_label(name)).to_be_focused()

    def expect_said(self, words: str) -> None:
        expect(self._page.get_by_role("status")).to_have_text(words)

    def expect_text(self, words: str) -> None:
        expect(self._page.get_by_role("main")).to_contain_text(words)

    def tab_to(self, name: str) -> None:
        """Move by Tab until the field, button or link of this name has the focus."""
        button, link = (self._page.get_by_role(role, name=name) for role in ("button", "link"))  # type: ignore[arg-type]
        found = self._page.get_by_label(name, exact=True).or_(button).or_(link).first
        for _ in range(120):
            if found.evaluate("element => element === document.activeElement"):
                return
            self.press("Tab")
        raise AssertionError(f"No Tab leads to {name}.")

    def save(self, name: str) -> None:
        """Keep pictures of the page, light and dark, where somebody asked for them."""
        if _FOLDER:
            for scheme in ("light", "dark"):
                self._page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self._page.screenshot(path=Path(_FOLDER, f"{name}-{scheme}.png"))
