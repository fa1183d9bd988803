"""Renders the templates: every value is made fit to be shown and escaped, whoever forgets to ask for it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from monitor.domain import CellVerdict
from monitor.report.format import days_text, length_text, quantile_text, since_text
from monitor.site import names
from monitor.site.grid import letter_of
from monitor.site.text import clipped, shown


@cache
def _environment() -> Environment:
    folder = files("monitor.site") / "templates"
    environment = Environment(
        loader=DictLoader({one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.is_file()}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(names=names, letter=lambda verdict: letter_of(CellVerdict(verdict)))
    environment.filters.update(
        clip=clipped, days=days_text, since=since_text, lasting=length_text, quantile=quantile_text
    )
    return environment


def render(template: str, path: str, **values: Any) -> bytes:
    """Return what the template says at ``path``, from which its links lead."""
    root = names.root_of(path)
    return _environment().get_template(template).render(root=root, path=path, **values).encode()


def style() -> bytes:
    return (files("monitor.site") / "templates" / "style.css").read_bytes()


def _final(value: Any) -> Any:
    """Return what is shown for a value; markup that a template has made stays as it is."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") or isinstance(value, int | float) else shown(str(value))
