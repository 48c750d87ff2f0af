"""What is shown and taken at each of the page's addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from overnight.failures import OvernightError, ReviewRefused
from overnight.page.edits import EditRefused, read_changes
from overnight.page.forms import find_seconds, read_form
from overnight.page.reading import ReaderRound
from overnight.page.render import render
from overnight.page.review import Review
from overnight.page.views import list_edits, view_elsewhere, view_item, view_result, view_start, view_summary
from overnight.page.words import say_done

#: How long the page is served on: until its style has come, once the decision was told; and where nobody asks for it.
_TOLD_S = 1.5
_UNTOLD_S = 20.0


class Pages:
    """
    The pages of one review, and what their forms do.

    Args:
        review: What is read.
        end_in: Called once all is decided, with the seconds after which nobody needs the pages any more.
    """

    def __init__(self, review: Review, end_in: Callable[[float], None]) -> None:
        self.lock = asyncio.Lock()
        self._review = review
        self._end_in = end_in

    @property
    def _reading(self) -> ReaderRound:
        return self._review.reading

    async def show_start(self, request: Request) -> Response:
        """What waits."""
        if end := await self._find_end(request):
            return end
        stale = (
            "That was an item of another round, and is not counted. Go on here."
            if "stale" in request.query_params
            else ""
        )
        return self._render("start.html", request, view_start(self._reading), alert=stale)

    async def show_item(self, request: Request) -> Response:
        """One item, to be read, called wrong or edited."""
        number = request.path_params["number"]
        if number not in self._reading.items:
            return _go("/")
        if end := await self._find_end(request):
            return end
        self._reading.show(number)
        return self._render_item(request, number, _mode(request))

    async def judge(self, request: Request) -> Response:
        """Take a verdict, or go where its words are asked for."""
        form, number = await read_form(request), request.path_params["number"]
        if not self._is_current(form, number):
            return _go("/?stale=1")
        self._reading.spend(number, find_seconds(form))
        verdict = form.get("verdict", "")
        if verdict in ("correct", "unsure"):
            return self._give(number, verdict)
        return _go(f"/item/{number}/{verdict}" if verdict in ("wrong", "edit") else f"/item/{number}")

    async def give_reason(self, request: Request) -> Response:
        """Take what is wrong with a row."""
        form, number = await read_form(request), request.path_params["number"]
        if not self._is_current(form, number):
            return _go("/?stale=1")
        self._reading.spend(number, find_seconds(form))
        try:
            return self._give(number, {"wrong": form.get("reason", "")})
        except ReviewRefused as refusal:
            self._reading.show(number)
            return self._render_item(request, number, "wrong", alert=str(refusal), typed=form, bad="reason")

    async def save_edit(self, request: Request) -> Response:
        """Take a correction."""
        form, number = await read_form(request), request.path_params["number"]
        if not self._is_current(form, number):
            return _go("/?stale=1")
        self._reading.spend(number, find_seconds(form))
        try:
            changed = read_changes(
                self._reading.items[number], self._review.schema, form, self._review.find_veil(number)
            )
        except EditRefused as refusal:
            self._reading.show(number)
            return self._render_item(request, number, "edit", alert=str(refusal), typed=form, bad=refusal.field)
        return self._give(number, {"corrected": changed})

    async def undo(self, request: Request) -> Response:
        """Take the last verdict back."""
        await read_form(request)
        if self._review.decision:
            return _go("/result")
        number = self._reading.undo()
        return _go(f"/item/{number}?undone={number}" if number else "/")

    async def begin_anew(self, request: Request) -> Response:
        """Forget an earlier sitting."""
        form = await read_form(request)
        if self._review.decision is None and form.get("round") == str(self._review.release.round):
            self._reading.begin_anew()
        return _go("/")

    async def show_summary(self, request: Request) -> Response:
        """What was found, and the form of the decision."""
        return await self._find_end(request) or await self._render_summary(request)

    async def decide(self, request: Request) -> Response:
        """Hand the answers in."""
        form = await read_form(request)
        if self._review.decision:
            return _go("/result")
        if form.get("round") != str(self._review.release.round):
            return _go("/?stale=1")
        try:
            decision = await run_in_threadpool(self._review.decide, form)
        except OvernightError as refusal:
            alert = " ".join(str(refusal).split())
            return await self._find_elsewhere(request) or await self._render_summary(request, alert)
        if decision.is_final:
            self._end_in(_UNTOLD_S)
        return _go("/result")

    async def show_result(self, request: Request, alert: str = "") -> Response:
        """What became of them."""
        decision = self._review.decision
        if decision is None:
            return _go("/")
        response = self._render("result.html", request, view_result(decision, self._review.release), alert=alert)
        if decision.is_final:
            response.background = BackgroundTask(self._tell)
        return response

    async def begin_next(self, request: Request) -> Response:
        """Open the next round."""
        await read_form(request)
        if self._review.decision and not self._review.decision.is_final:
            if end := await self._find_elsewhere(request):
                return end
            try:
                await run_in_threadpool(self._review.begin_next)
            except OvernightError as refusal:
                return await self.show_result(request, alert=" ".join(str(refusal).split()))
        return _go("/")

    async def _find_end(self, request: Request) -> Response | None:
        """Where the reading is over: what was recorded here, or that it was decided elsewhere."""
        # In turn: what is being recorded here stands already, and would be taken for somebody else's.
        async with self.lock:
            return _go("/result") if self._review.decision else await self._find_elsewhere(request)

    async def _find_elsewhere(self, request: Request) -> Response | None:
        standing = await run_in_threadpool(self._review.find_elsewhere)
        if standing is None:
            return None
        self._end_in(_UNTOLD_S)
        response = self._render("elsewhere.html", request, view_elsewhere(standing, self._review.release), alert="")
        response.background = BackgroundTask(self._tell)
        return response

    async def _tell(self) -> None:
        self._end_in(_TOLD_S)

    def _give(self, number: int, verdict: Any) -> Response:
        self._reading.give(number, verdict)
        following = self._reading.find_next(number)
        return _go(f"/item/{following}?did={number}" if following else f"/decision?did={number}")

    def _is_current(self, form: Mapping[str, str], number: int) -> bool:
        """Whether a form is of the round that is read: a tab may have been left open."""
        is_round = form.get("round") == str(self._review.release.round) and self._review.decision is None
        return is_round and number in self._reading.items

    def _render_item(
        self,
        request: Request,
        number: int,
        mode: str,
        *,
        alert: str = "",
        typed: Mapping[str, str] | None = None,
        bad: str | None = None,
    ) -> Response:
        view = view_item(self._reading, number, mode, typed=typed, bad=bad)
        item = self._reading.items[number]
        view["edits"] = list_edits(self._reading, item, self._review.schema, typed) if mode == "edit" else []
        return self._render("item.html", request, view, alert=alert)

    async def _render_summary(self, request: Request, alert: str = "") -> Response:
        demands_code = await run_in_threadpool(self._review.demands_code)
        view = view_summary(self._review, demands_code=demands_code)
        return self._render("summary.html", request, view, alert=alert)

    def _render(self, name: str, request: Request, view: dict[str, Any], *, alert: str) -> Response:
        """A page with what was just recorded, and what was refused."""
        found = {
            "alert": alert,
            "fault": self._reading.fault,
            "said": say_done(self._reading, request.query_params),
            "round": self._review.release.round,
            "are_keys_on": request.cookies.get("overnight-keys") != "off",
        }
        return render(name, view | found, 422 if alert and request.method == "POST" else 200)


def _mode(request: Request) -> str:
    last = request.url.path.rpartition("/")[2]
    return last if last in ("wrong", "edit") else "read"


def _go(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)
