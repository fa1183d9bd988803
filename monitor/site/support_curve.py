"""Draws how the share of supported models grows with the days since release, as SVG that takes the page's colours."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from monitor.report.summary import Group
    from monitor.stability.values import Distribution

SVG = "http://www.w3.org/2000/svg"
_LINKS = "{http://www.w3.org/1999/xlink}href"
WIDTH, HEIGHT = 6.4, 3.2  # inches of 72 points
LONGEST_DAYS = 180  # later days say little, and squeeze the first weeks
# colours that stand for a class of the stylesheet: a page is light or dark, a drawing must not be
_CLASSES = {"#010101": "ink", "#020202": "rule", "#030303": "works", "#040404": "stable"}
_INK, _RULE, _WORKS, _STABLE = _CLASSES


def curves(group: Group, title: str, *, salt: str) -> str:
    """Return an ``svg`` element, or "" where nothing is told; ``salt`` keeps the ids of two drawings apart."""
    told = [
        (name, found, colour, style)
        for name, found, colour, style in (
            ("works", group.works, _WORKS, "-"),
            ("stable", group.stable, _STABLE, "--"),
        )
        if found is not None and found.curve
    ]
    if group.works is None or not group.works.curve:
        return ""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9}):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        last = min(LONGEST_DAYS, max(found.curve[-1].day for _, found, _, _ in told) + 7)
        for name, found, colour, style in told:
            _draw(axes, found, last, name=name, colour=colour, style=style)
        _dress(axes, last)
        buffer = io.BytesIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _cleaned(buffer.getvalue(), title)


def _draw(axes: Axes, found: Distribution, last: int, *, name: str, colour: str, style: str) -> None:
    """Draw the share that is supported by the end of each day where it is told, with its band where there is one."""
    points = [one for one in found.curve if one.day <= last]
    days = [0, *(one.day for one in points), last]
    shares = [0.0, *(1 - one.share if one.precise else math.nan for one in points)]
    shares.append(shares[-1])
    label_at = next(share for share in reversed(shares) if not math.isnan(share))
    axes.step(days, shares, where="post", color=colour, linestyle=style, linewidth=2, label=name, zorder=3)
    banded = [one for one in points if one.low is not None and one.high is not None]
    if banded:
        low, high = [1 - (one.high or 0) for one in banded], [1 - (one.low or 0) for one in banded]
        axes.fill_between(
            [*(one.day for one in banded), last], [*low, low[-1]], [*high, high[-1]],
            step="post", color=colour, alpha=0.16, linewidth=0, zorder=2,
        )  # fmt: skip
    # a label at the line's end: a legend would have to be matched by colour
    axes.annotate(
        f" {name}", (last, label_at), color=colour, va="bottom" if name == "works" else "top", ha="left",
        annotation_clip=False, fontweight="bold",
    )  # fmt: skip


def _dress(axes: Axes, last: int) -> None:
    axes.set_xlim(0, last)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([day for day in (0, 7, 14, 30, 60, 90, 120, 150, 180) if day <= last])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_xlabel("days since the model's release", color=_INK)
    axes.set_ylabel("share of models", color=_INK)
    axes.tick_params(colors=_RULE, labelcolor=_INK, length=3)
    axes.grid(color=_RULE, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.figure.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_RULE)


def _cleaned(drawn: bytes, title: str) -> str:
    """Return the drawing with classes in place of colours and fonts, without a style: a page may forbid those."""
    ET.register_namespace("", SVG)
    svg = ET.fromstring(drawn)  # noqa: S314 - matplotlib's own, of numbers and our words
    for parent in list(svg.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
        _dressed(parent)
    for name in ("width", "height"):
        svg.attrib.pop(name, None)
    used = set(re.findall(r"#([\w.-]+)", " ".join(value for one in svg.iter() for value in one.attrib.values())))
    for element in svg.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)  # two drawings of a page have the same
    svg.set("role", "img")
    svg.set("class", "curves")
    svg.set("aria-label", title)
    return re.sub(r"\s+\n", "\n", ET.tostring(svg, encoding="unicode"))


def _dressed(element: ET.Element) -> None:
    classes: list[str] = []
    for name, value in _style(element.attrib.pop("style", "")):
        if name.startswith("font") or name == "text-anchor":
            if name == "text-anchor" or value == "bold" or "bold" in value.split():
                element.set(*(("text-anchor", value) if name == "text-anchor" else ("font-weight", "bold")))
        elif value in _CLASSES and name in ("fill", "stroke"):
            classes.append(f"{name}-{_CLASSES[value]}")
        else:
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))
    if _LINKS in element.attrib:
        element.set("href", element.attrib.pop(_LINKS))


def _style(text: str) -> Sequence[tuple[str, str]]:
    pairs = (part.partition(":") for part in text.split(";"))
    return [(name.strip(), value.strip()) for name, colon, value in pairs if colon]
