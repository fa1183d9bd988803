"""Draws the share of supported models by days since their release, as SVG in the page's colours."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
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


def support_curve(group: Group, title: str, *, seed: str) -> str:
    """Return an ``svg`` element, "" where the data give no curve; ``seed`` keeps the ids of two drawings apart."""
    if group.works is None or not group.works.curve:
        return ""
    lines = [("works", group.works, _WORKS, "-")]
    if group.stable is not None and group.stable.curve:
        lines.append(("stable", group.stable, _STABLE, "--"))
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": seed, "font.size": 9}):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        last = min(LONGEST_DAYS, max(times.curve[-1].day for _, times, _, _ in lines) + 7)
        for name, times, colour, style in lines:
            _draw(axes, times, last, name=name, colour=colour, style=style)
        _dress(axes, last)
        buffer = io.BytesIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _cleaned(buffer.getvalue(), title)


def _draw(axes: Axes, times: Distribution, last: int, *, name: str, colour: str, style: str) -> None:
    """Draw the share that is supported by the end of each day where it is precise, and its band."""
    points = [share for share in times.curve if share.day <= last]
    days = [0, *(share.day for share in points), last]
    shares = [0.0, *(1 - share.share if share.precise else math.nan for share in points)]
    shares.append(shares[-1])
    label_at = next(share for share in reversed(shares) if not math.isnan(share))
    axes.step(days, shares, where="post", color=colour, linestyle=style, linewidth=2, label=name, zorder=3)
    banded = [share for share in points if share.low is not None and share.high is not None]
    if banded:
        low, high = [1 - (share.high or 0) for share in banded], [1 - (share.low or 0) for share in banded]
        axes.fill_between(
            [*(share.day for share in banded), last], [*low, low[-1]], [*high, high[-1]],
            step="post", color=colour, alpha=0.16, linewidth=0, zorder=2,
        )  # fmt: skip
    # a label at the line's end: a legend would need colours to be matched
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
    """Return the drawing with classes in place of colours, fonts and styles, which a page may forbid."""
    ET.register_namespace("", SVG)
    svg = ET.fromstring(drawn)  # noqa: S314 - matplotlib wrote it, from numbers and our words
    for parent in list(svg.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
        _dressed(parent)
    for name in ("width", "height"):
        svg.attrib.pop(name, None)
    values = " ".join(value for element in svg.iter() for value in element.attrib.values())
    used = set(re.findall(r"#([\w.-]+)", values))
    for element in svg.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)  # two drawings of a page would share it
    svg.set("role", "img")
    svg.set("class", "curves")
    svg.set("aria-label", title)
    return re.sub(r"\s+\n", "\n", ET.tostring(svg, encoding="unicode"))


def _dressed(element: ET.Element) -> None:
    classes: list[str] = []
    for declaration in element.attrib.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name.startswith("font"):
            if "bold" in value.split():
                element.set("font-weight", "bold")
        elif value in _CLASSES and name in ("fill", "stroke"):
            classes.append(f"{name}-{_CLASSES[value]}")
        elif value:
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))
    if _LINKS in element.attrib:
        element.set("href", element.attrib.pop(_LINKS))
