"""Reads a page as a browser would, strictly: what it is made of, where it leads, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_EMPTY = frozenset({"meta", "link", "img", "br", "path", "rect", "use"})
_FORBIDDEN = frozenset({"script", "style", "iframe", "object", "embed", "form", "base"})
_HEADING = re.compile(r"h[1-6]")


@dataclass
class Page(HTMLParser):
    """Everything that the tests ask of one page; ``wrong`` says what must not be."""

    text: str = ""
    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    landmarks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def read(cls, source: str) -> Page:
        page = cls()
        page.feed(source)
        page.close()
        page.wrong += [f"<{tag}> is never closed" for tag in page._open]
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, {name: value or "" for name, value in attrs})
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        self.text += data

    def _look(self, tag: str, own: dict[str, str]) -> None:
        if tag in _FORBIDDEN or "style" in own or any(name.startswith("on") for name in own):
            self.wrong.append(f"<{tag} {' '.join(own)}>")
        self.links += [own[name] for name in ("href", "src") if name in own]
        if "id" in own:
            self.ids.append(own["id"])
        if _HEADING.fullmatch(tag):
            self.headings.append(int(tag[1]))
        if tag in ("main", "nav", "header", "footer"):
            self.landmarks.append(tag)
        if tag == "th" and "scope" not in own:
            self.wrong.append("a <th> without scope")
        if tag == "img" and not own.get("alt"):
            self.wrong.append("an <img> without alt")
        if own.get("role") in ("region", "img") and not own.get("aria-label"):
            self.wrong.append(f"a {own['role']} without a label")
