"""Reads the page of a verdict as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser

from tmrepro.verification import Verdict
from tmrepro.verification.page import render_page


class Element:
    """A tag of a page with what is in it."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.inside: list[Element | str] = []

    @property
    def text(self) -> str:
        pieces = [piece if isinstance(piece, str) else piece.raw_text for piece in self.inside]
        return " ".join("".join(pieces).split())

    @property
    def raw_text(self) -> str:
        return "".join(piece if isinstance(piece, str) else piece.raw_text for piece in self.inside)

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """All elements `tag` in here; `of="word"` asks for that class."""
        wanted = attributes.pop("of", None)
        found = []
        for piece in self.inside:
            if isinstance(piece, Element):
                classes = piece.attributes.get("class", "").split()
                same = all(piece.attributes.get(name) == value for name, value in attributes.items())
                if piece.tag == tag and same and (wanted is None or wanted in classes):
                    found.append(piece)
                found += piece.find(tag, **attributes, **({} if wanted is None else {"of": wanted}))
        return found


class _Parser(HTMLParser):
    EMPTY = frozenset({"meta", "img", "br", "line", "rect", "path", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert len(self._open) == 1, f"not closed: {[element.tag for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].inside.append(element)
        if tag not in self.EMPTY:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self._open.pop().tag == tag, tag

    def handle_data(self, data: str) -> None:
        self._open[-1].inside.append(data)


def parse(html: str) -> Element:
    """Return a page as an element that has all others in it."""
    return _Parser(html).root


_drawn: dict[int, tuple[Verdict, str]] = {}  # by id; a verdict is kept, so that no other gets its id


def html_of(verdict: Verdict) -> str:
    """Return the page of a verdict. It is drawn once for each, since that takes a second."""
    if id(verdict) not in _drawn:
        _drawn[id(verdict)] = verdict, render_page(verdict)
    return _drawn[id(verdict)][1]


def page_of(verdict: Verdict) -> Element:
    """Return the parsed page of a verdict."""
    return parse(html_of(verdict))
