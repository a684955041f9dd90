"""The paper's text: every number in it comes from the data, and what it says of them is checked when it is built."""

from __future__ import annotations

import importlib.util
import json
import re
from copy import deepcopy
from pathlib import Path

import pypdf
import pytest

from tmrepro.store.finished import read_finished

PAPER = Path(__file__).parents[2] / "paper"
NUMBERS = json.loads((PAPER / "numbers.json").read_text())
# Digits that are no results:
NAMES = re.compile(r"CIFAR-10|ResNet50|Li et al\. 2018|arXiv 2208\.13219|Algorithm [12]|Figure 1|AVX2")


class Prose:
    """The text of a Typst source as written: no code, comments, mathematics or raw text, but the content within code."""

    def __init__(self, source: str) -> None:
        self.source, self.at, self.words = source, 0, []
        self.markup()

    def take(self, pattern: str) -> str:
        found = re.compile(pattern).match(self.source, self.at)
        self.at = found.end() if found else self.at
        return found.group() if found else ""

    def markup(self) -> None:
        """Up to the bracket that closes it, or the end."""
        while self.at < len(self.source):
            if self.take(r"//[^\n]*|\$[^$]*\$|`[^`]*`"):
                continue
            if self.take("]"):
                return
            if self.take("#"):
                self.expression()
            elif self.take(r"\["):
                self.markup()
            else:
                self.words.append(self.take(r"\\.|[\s\S]"))

    def expression(self) -> None:
        if self.take(r"(let|set|show)\b"):
            self.code(until="\n")
        elif self.take(r"if\b"):
            self.code(until="[{")
            while self.take(r"\s*else\b\s*"):
                self.code(until="[{")
        else:
            self.take(r"[A-Za-z_][\w-]*")
            while self.take(r"\.[A-Za-z_][\w-]*") or self.source[self.at : self.at + 1] in {"(", "["}:
                if self.take(r"\("):
                    self.code(until=")")
                elif self.take(r"\["):
                    self.markup()

    def code(self, *, until: str) -> None:
        """Through the first of `until` outside of all brackets, and what a bracket there holds."""
        while self.at < len(self.source):
            if self.take(r'//[^\n]*|"(?:[^"\\]|\\.)*"|\$[^$]*\$'):
                continue
            sign = self.take(r"[\s\S]")
            if sign == "[":
                self.markup()
            elif sign in "({":
                self.code(until=")" if sign == "(" else "}")
            if sign in until:
                return


def module(name: str):
    found = importlib.util.spec_from_file_location(name, PAPER / f"{name}.py")
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


def typeset(numbers: dict, folder: Path) -> str:
    """The words of the paper with `numbers`, without the space between them."""
    module("build").typeset(json.dumps(numbers), folder / "paper.pdf")
    return "".join("".join(page.extract_text().split()) for page in pypdf.PdfReader(folder / "paper.pdf").pages)


def test_prose_has_no_number_of_its_own():
    """So all of them come from the data, or from code, which sets none."""
    words = " ".join("".join(Prose((PAPER / "paper.typ").read_text()).words).split())
    assert "Wang and Thawonmas relabel" in words
    assert "the same by layer" in words
    assert "Median (least to largest) over" in words  # a caption, within code
    assert not re.findall(r".{0,30}\d.{0,30}", NAMES.sub("", words))


def test_the_reader_of_prose_sees_what_is_written_and_no_code():
    source = """#let a = if x > 1 [one 1 ] else { (2, [two 2 ]) } // 3
#text(size: 4pt)[five 5 #n.six.len() $7$] `8` #f(9)[#g("10") ten]."""
    assert "".join(Prose(source).words).split() == ["one", "1", "two", "2", "five", "5", "ten."]


def test_numbers_of_the_data_stand_in_the_text(tmp_path):
    words = typeset(NUMBERS, tmp_path)
    assert f"{NUMBERS['study']['train']}ofCIFAR-10’spictures" in words
    for line in NUMBERS["claims"]["lines"]:
        assert line in words
    other = deepcopy(NUMBERS)
    other["study"]["train"] = 765
    other["claims"]["counts"]["paper"] = {"reproduced": 87, "contradicted": 65, "inconclusive": 43}
    words = typeset(other, tmp_path)
    assert "765ofCIFAR-10’spictures" in words
    assert "87comparisonsarereproduced,65contradictedand43undecided" in words


def test_what_was_not_computed_is_named_and_has_no_table(tmp_path):
    words = typeset(NUMBERS | {"missing": []}, tmp_path)
    assert "noresultyet" not in words
    assert "Curvatureatthepoint" in words
    assert "Thepathoftraining,seenfromthepoint" in words
    assert "Remedies,oneseed" in words
    none = {"curvature": {}, "paths": {}, "remedies": {}, "missing": ["paper-cpu-paths", "curvature"]}
    words = typeset(NUMBERS | none, tmp_path)
    assert "noresultyet:paper-cpu-paths,curvature." in words
    assert "Curvatureatthepoint" not in words
    assert "Thepathoftraining,seenfromthepoint" not in words
    assert "Remedies,oneseed" not in words


def test_a_statement_that_the_numbers_do_not_bear_stops_the_build(tmp_path):
    source = tmp_path / "paper.typ"
    source.write_text((PAPER / "paper.typ").read_text() + "#holds(n.study.seeds < 2)[One seed is enough.]")
    for name in ("figure1.png", "reference"):
        (tmp_path / name).symlink_to(PAPER / name)
    with pytest.raises(RuntimeError, match="a statement of the text does not hold for the numbers"):
        module("build").typeset(json.dumps(NUMBERS), tmp_path / "paper.pdf", source=source)


def test_a_conclusion_that_the_numbers_no_longer_bear_stops_the_build(tmp_path):
    other = deepcopy(NUMBERS)
    other["claims"]["lines"]["C1.slope"]["settings"]["filter"]["verdict"] = "inconclusive"
    with pytest.raises(RuntimeError, match="a statement of the text does not hold for the numbers"):
        typeset(other, tmp_path)


def test_numbers_are_those_of_the_reference():
    gather, reference = module("gather"), PAPER / "reference" / "paper-gpu"
    run = read_finished(reference)
    points = gather._points(run)
    assert list(points) == ["dnn", "cnn", "resnet50"]
    for network, point in points.items():
        minimum = json.loads((reference / "models" / network / "minimum.json").read_text())
        assert point["categories"] == {minimum["category"]: 1}
        assert point["lm_first_epoch"]["median"] == minimum["lm_first_epoch"]
        assert point["lm_first_epoch"]["reached"] == (minimum["lm_first_epoch"] is not None)
        assert point["theta_norm"] == dict.fromkeys(("median", "least", "largest"), minimum["theta_norm"])
    assert gather._about(run)["train"] == 50_000
    assert gather._first_points([run])["cnn"]["lm_first_epoch"] == points["cnn"]["lm_first_epoch"]["median"]


def test_numbers_and_readme_are_gathered_from_the_shipped_references(tmp_path):
    gather = module("gather")
    numbers = gather.gather(PAPER / "reference")
    assert gather.dump(numbers) == (PAPER / "numbers.json").read_text()
    assert gather.summary(numbers) in (PAPER.parent / "README.md").read_text()
    assert f"{numbers['study']['seeds']}trainingseeds" in typeset(numbers, tmp_path)


def test_never_is_later_than_any_epoch():
    found = module("gather")._first_reached([30, None, 20])
    assert found == {"median": 30, "least": 20, "largest": None, "reached": 2}
