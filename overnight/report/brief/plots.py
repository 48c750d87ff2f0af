"""Plots over the last nights, as SVG that takes its colours and letters from the page around it."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Stand for the page's own colours: nothing else is drawn in them.
_COLOURS = {
    "#010101": "--ink",
    "#020202": "--soft",
    "#030303": "--line",
    "#040401": "--s1",
    "#040402": "--s2",
    "#040403": "--s3",
    "#040404": "--s4",
    "#040405": "--s5",
    "#040406": "--s6",
}
_INK, _SOFT, _LINE, *_SERIES = _COLOURS
_SIZE_INCHES = (4.6, 2.3)
_LETTERS_PT = 8
#: Of the highest value: nothing touches the frame.
_HEADROOM = 1.06
#: Nights that are named below a plot, at most.
_N_NAMES = 5


@dataclass(frozen=True)
class Plot:
    """
    What is drawn, and told as a table beside it.

    Attributes:
        title: What it shows, with its unit.
        nights: The name of each night, oldest first.
        series: Values by name, one a night; None where there is none.
        kind: "bars", one upon the other, or "lines".
        limits: Lines across the plot, by name: what is beyond them was told as a change.
        note: How it is read, where that is not plain.
    """

    title: str
    nights: tuple[str, ...]
    series: Mapping[str, Sequence[float | None]]
    kind: str
    limits: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for values in self.series.values() for value in values)


def draw(plot: Plot) -> str:
    """The plot as an SVG element."""
    # Half a second that only a page waits for.
    from matplotlib import rc_context  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    # Its letters stay letters, and the same plot is the same bytes.
    style: Any = {"font.size": _LETTERS_PT, "text.color": _INK, "svg.fonttype": "none", "svg.hashsalt": plot.title}
    with rc_context(style):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        _style(axes, plot)
        (_draw_bars if plot.kind == "bars" else _draw_lines)(axes, plot)
        for limit in plot.limits.values():
            axes.axhline(limit, color=_SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * _HEADROOM)
        made = io.StringIO()
        figure.savefig(made, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _take_colours(made.getvalue(), plot.title)


def list_colours(plot: Plot) -> dict[str, str]:
    """The page's colour of each series, by its name."""
    return {name: _COLOURS[_pick(n)] for n, name in enumerate(plot.series)}


def _pick(n: int) -> str:
    return _SERIES[n % len(_SERIES)]


def _style(axes: Axes, plot: Plot) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_SOFT, length=0, pad=4)
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="y", nbins=4)
    every = -(-len(plot.nights) // _N_NAMES)
    # Counted from the last one: it is the night that is read about.
    named = [n for n in range(len(plot.nights)) if (len(plot.nights) - 1 - n) % every == 0]
    axes.set_xticks(named, [plot.nights[n] for n in named])
    axes.set_xlim(-0.6, max(len(plot.nights) - 0.4, 0.6))


def _draw_bars(axes: Axes, plot: Plot) -> None:
    below = [0.0] * len(plot.nights)
    for n, values in enumerate(plot.series.values()):
        heights = [value or 0.0 for value in values]
        axes.bar(range(len(heights)), heights, bottom=below, width=0.62, color=_pick(n))
        below = [low + height for low, height in zip(below, heights, strict=True)]


def _draw_lines(axes: Axes, plot: Plot) -> None:
    for n, values in enumerate(plot.series.values()):
        there = [(at, value) for at, value in enumerate(values) if value is not None]
        x, y = [at for at, _ in there], [value for _, value in there]
        axes.plot(x, y, color=_pick(n), linewidth=1.6, marker="o", markersize=3.2)


def _take_colours(svg: str, title: str) -> str:
    """The element alone, in the page's colours and letters, as one picture to who cannot see it."""
    element: Any = svg[svg.index("<svg") :]
    # Its own style would hold for the whole page.
    for content, part in (("<rdf:RDF", "metadata"), ("<style", "defs")):
        element = re.sub(rf"<{part}>\s*{content}.*?</{part}>", "", element, count=1, flags=re.DOTALL)
    for drawn, name in _COLOURS.items():
        element = element.replace(drawn, f"var({name})")
    element = re.sub(r"font-family: [^;\"]*", "font-family: inherit", element)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    label = html.escape(title)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 role="img" aria-label="{label}"', element, count=1)
