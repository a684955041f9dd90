"""The verdict as one self-contained page.

The page has the content of the JSON, and the figures. Numbers are also in it with every digit (the `value` of their element).
Names, messages and provenance may be hostile, so all text is escaped (report.page_environment).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from tmrepro.errors import DamagedError, StorageError
from tmrepro.reporting.captions import below_theta, figure_in_words
from tmrepro.reporting.figures import PixelDifference, compare_png, difference_png
from tmrepro.reporting.masthead import masthead
from tmrepro.reporting.report import UNDEFINED, figure_links, number, render_with_pictures
from tmrepro.statistics import Value
from tmrepro.statistics.ranges import Range
from tmrepro.verification.bands import Band
from tmrepro.verification.drawing import BandPicture, draw_band
from tmrepro.verification.grades import GRADES, Grade
from tmrepro.verification.scales import JUDGES_NOTHING, place_back
from tmrepro.verification.verdict import Against, Check, FigureComparison, NumberComparison, Verdict

DIGITS = 7  # enough to show the difference of two numbers that are equal within 1e-4

_EXPECTED: dict[Against, str] = {"itself": "Recomputed", "reference": "Reference", "rerun": "Run again"}


def write_page(verdict: Verdict, path: Path) -> None:
    """Write the page to `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = render_page(verdict, links=figure_links(Path(verdict.subject), page=path))
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def render_page(verdict: Verdict, *, links: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> str:
    """Return the page, HTML in UTF-8; `links` lead to the files of the run's figures (report.figure_links)."""
    figures = _figures(verdict)
    tables = [table for check in verdict.checks for table in _tables(check, verdict.checks)]
    pictures = [png for figure in figures if not figure.told for _, png in figure.sides if png is not None]
    return render_with_pictures(
        "verdict.html.j2",
        pictures=pictures,
        verdict=verdict,
        masthead={} if verdict.provenance is None else masthead(verdict.provenance.run),
        counts=_counts(verdict.checks),
        failed=sorted((check for check in verdict.checks if not check.passed), key=_badness, reverse=True),
        passed=[check for check in verdict.checks if check.passed],
        counts_passed=_counts([check for check in verdict.checks if check.passed]),
        figures=figures,
        links=links,
        tables=sorted(tables, key=lambda table: table.check.passed),
        has_bands=any(table.has_bands for table in tables),
        provenance=() if verdict.provenance is None else verdict.provenance.lines,
        expected=_EXPECTED,
        judges_nothing=JUDGES_NOTHING,
        filters={"digits": digits, "exact": exact},
    )


def digits(value: Value) -> str:
    """Return a number with seven significant digits, counts in full, a dash if it is undefined."""
    if value is None:
        return UNDEFINED
    return str(value) if isinstance(value, int) else f"{value:.{DIGITS}g}"


def exact(value: Value) -> str:
    """Return a number with every digit, for machines."""
    return "" if value is None else repr(value)


@dataclass(frozen=True)
class _Figure:
    """A figure on both sides, and its differences; None: there is no such picture.

    `passed`: shown folded. `told`: shown without a picture, because its comparison with the other side is shown as well.
    """

    figure: FigureComparison
    grade: Grade | None
    expected: bytes | None
    found: bytes | None
    difference: bytes | None
    pixels: PixelDifference | None
    passed: bool
    told: bool

    @property
    def sides(self) -> tuple[tuple[str, bytes | None], ...]:
        """Return the pictures to show, each with its heading; only one if both sides have the same."""
        other = _EXPECTED[self.figure.against]
        if self.found is not None and self.pixels is not None and self.pixels.identical:
            return ((f"{other} and this run, the same picture", self.found),)
        return ((other, self.expected), ("This run", self.found), ("Difference", self.difference))

    @property
    def words(self) -> str:
        """A description of the figure."""
        return figure_in_words(self.figure.name)


@dataclass(frozen=True)
class _Row:
    """A number. `apart`: the difference of value and expectation; `mean`, `spread` and `says`: its band as text."""

    compared: NumberComparison
    apart: str
    picture: BandPicture | None = None
    mean: float | None = None
    spread: str = ""
    says: str = ""


@dataclass(frozen=True)
class _Table:
    """The statistics of one surface of one network, or the numbers of its minimum.

    `told`: a check of the run's own files, which adds nothing to a comparison with other files.
    """

    check: Check
    surface: str | None
    model: str
    rows: tuple[_Row, ...]
    told: bool

    @property
    def has_bands(self) -> bool:
        """Whether there is a band to show."""
        return any(row.compared.band is not None for row in self.rows)

    @property
    def below_theta(self) -> str | None:
        """How far the plane goes below theta*, as text; None if it does not."""
        return below_theta({row.compared.name: row.compared.value for row in self.rows})


def _figures(verdict: Verdict) -> list[_Figure]:
    """Return the failed and the ungraded figures first, then the others, each in the order of the checks."""
    graded = [(check, check.figure) for check in verdict.checks if check.figure is not None]
    elsewhere = {figure.name for _, figure in graded if figure.against != "itself"}
    elsewhere |= {figure.name for figure in verdict.ungraded_figures}
    found = [
        _figure(figure, check, told=_adds_nothing(check, elsewhere=figure.name in elsewhere))
        for check, figure in graded
    ]
    found += [_figure(figure, None, told=False) for figure in verdict.ungraded_figures]
    return sorted(found, key=lambda one: (one.passed, one.told))


def _figure(figure: FigureComparison, check: Check | None, *, told: bool) -> _Figure:
    pixels = figure.pixels
    same = pixels is not None and pixels.identical
    return _Figure(
        figure,
        None if check is None else check.grade,
        expected=_picture(figure.expected),
        found=_picture(figure.found),
        difference=None if told or same else _difference(figure.expected, figure.found),
        pixels=pixels,
        passed=check is not None and check.passed,
        told=told,
    )


def _picture(png: bytes | None) -> bytes | None:
    """Return `png` if it is a valid picture, otherwise None."""
    try:
        return None if png is None or not compare_png(png, png).identical else png
    except DamagedError:
        return None


def _difference(expected: bytes | None, found: bytes | None) -> bytes | None:
    try:
        return None if expected is None or found is None else difference_png(expected, found)
    except DamagedError:
        return None


def _tables(check: Check, checks: Sequence[Check]) -> list[_Table]:
    others = {
        (compared.surface, compared.model)
        for other in checks
        if other.against != "itself"
        for compared in other.numbers
    }
    return [
        _Table(check, *of, tuple(map(_row, group)), told=_adds_nothing(check, elsewhere=of in others))
        for of, group in groupby(check.numbers, key=lambda compared: (compared.surface, compared.model))
    ]


def _counts(checks: Sequence[Check]) -> list[tuple[Grade, int]]:
    """Return how many checks have each grade, from the best."""
    return [(grade, n) for grade in GRADES if (n := sum(check.grade == grade for check in checks))]


def _badness(check: Check) -> int:
    return GRADES.index(check.grade)


def _adds_nothing(check: Check, *, elsewhere: bool) -> bool:
    """Return whether a check of the run's own files adds nothing, because they are also compared with other files."""
    return check.against == "itself" and check.grade == "identical" and elsewhere


def _row(compared: NumberComparison) -> _Row:
    band = compared.band
    if band is None:
        return _Row(compared, _apart(compared))
    return _Row(
        compared,
        _apart(compared),
        picture=draw_band(band, value=compared.value, expected=compared.expected),
        # Logarithms are for machines. The page shows the geometric mean and a factor (of the odds, for a share).
        mean=place_back(band.mean, Range(band.scale)),
        spread=_spread(band),
        says=f"{compared.name}: {digits(compared.value)} on a band from {number(band.low)} to {number(band.high)}",
    )


def _spread(band: Band) -> str:
    factor = number(place_back(band.deviation, Range("log")))
    match band.scale:
        case "linear":
            return f"± {number(band.deviation)}"
        case "log":
            return f"×/÷ {factor}"
        case "logit":
            return f"odds ×/÷ {factor}"


def _apart(compared: NumberComparison) -> str:
    if compared.value is None or compared.expected is None or compared.value == compared.expected:
        return ""
    difference = compared.value - compared.expected
    share = f" ({difference / abs(compared.expected):+.2%})" if compared.expected else ""
    return f"{difference:+.3g}{share}"
