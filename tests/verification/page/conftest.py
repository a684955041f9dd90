"""What the tests of the verdict's outputs share: real verdicts of every grade, on a run that takes seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tmrepro
from tmrepro.api import build_reference
from tmrepro.store.manifest import write_manifest
from tmrepro.store.run_files import MANIFEST
from tmrepro.verification import Verdict
from tmrepro.verification.page import render_page

SPEC = """
version: 1
name: tiny
data: {name: digits, train: 40, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
training: {batch_size: 20, max_epochs: 6, warmup_steps: 2, stop: {at: never}}
surfaces:
  - {name: middle, grid: {K: 3, origin: center, step: 0.5}}
"""
REPLICATES = 2


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


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Element]:
    return lambda html: _Parser(html).root


@pytest.fixture(scope="session")
def html() -> Callable[[Verdict], str]:
    """The page of a verdict; drawn once for each, since that takes a second."""
    drawn: dict[int, tuple[Verdict, str]] = {}

    def of(verdict: Verdict) -> str:
        return drawn.setdefault(id(verdict), (verdict, render_page(verdict) if id(verdict) not in drawn else ""))[1]

    return of


@pytest.fixture(scope="session")
def page(parse: Callable[[str], Element], html: Callable[[Verdict], str]) -> Callable[[Verdict], Element]:
    return lambda verdict: parse(html(verdict))


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "tiny.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def made(spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/0`, `runs/1`, ... and the `reference` that was built from them."""
    home = tmp_path_factory.mktemp("made")
    build_reference(spec_file, to=home / "reference", replicates=REPLICATES, runs=home / "runs")
    return home


@pytest.fixture(scope="session")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Makes a manifest that fits what a folder holds now."""

    def of(folder: Path) -> None:
        (folder / MANIFEST).unlink()
        write_manifest(folder, work=tmp_path_factory.mktemp("work"))

    return of


@pytest.fixture(scope="session")
def edit(seal: Callable[[Path], None]) -> Callable[[Path, str, Callable[[Any], None]], None]:
    """Changes a JSON file of a folder in place, and its manifest with it."""

    def of(folder: Path, relative: str, change: Callable[[Any], None]) -> None:
        path = folder / relative
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        seal(folder)

    return of


@pytest.fixture(scope="session")
def verdicts(
    made: Path, tmp_path_factory: pytest.TempPathFactory, edit: Callable[[Path, str, Callable[[Any], None]], None]
) -> dict[str, Verdict]:
    """A verdict of every grade, each of a real run held against a real reference."""
    home, run = tmp_path_factory.mktemp("verdicts"), made / "runs" / "0"
    equal, different, damaged = (home / name / "tiny" for name in ("equal", "different", "damaged"))
    shutil.copytree(made / "reference", equal)
    edit(equal, "statistics.json", lambda all_of: _scale(all_of, "loss_max", 1 + 1e-6))
    edit(equal, "provenance.json", lambda document: document["packages"].update(torch="1.0"))
    shutil.copytree(made / "reference", different)
    edit(different, "statistics.json", lambda all_of: _scale(all_of, "loss_mean", 2.0))
    for name in ("figures", "surfaces.zarr"):
        shutil.rmtree(different / name)
        shutil.copytree(made / "runs" / "1" / name, different / name, ignore=shutil.ignore_patterns("*.pdf"))
    edit(different, "provenance.json", lambda document: document["packages"].update(matplotlib="1.0"))
    shutil.copytree(run, damaged)
    (damaged / "statistics.json").write_bytes(b"{}")
    (damaged / "<b>not of a run<img>.txt").write_bytes(b"")

    def held(target: Path, **how: Any) -> Verdict:
        return tmrepro.verify(target, **{"level": "statistics", "reference": made / "reference", **how})

    return {
        "identical": held(run),
        "equal": held(run, reference=equal),
        "consistent": held(made / "runs" / "1", replicate=True),
        "different": held(run, reference=different),
        "damaged": held(damaged),
        "alone": held(run, reference=None, level="audit", seed=5),
        "integrity": held(run, reference=None, level="integrity"),
        "other spec": held(made / "runs" / "1"),
    }


def _scale(statistics: Any, name: str, factor: float) -> None:
    statistics["middle"]["dnn"][name] *= factor
