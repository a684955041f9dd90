"""report.html: one self-contained page that can be stored, sent and printed, and that loads no other resource.

The page shows the content of the run folder; it computes nothing. The template engine escapes every name, number and
message. The content security policy also forbids scripts and external resources, because the spec and its names may be
hostile.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tmrepro.claims import Judgement
from tmrepro.errors import StorageError
from tmrepro.records import Minimum, TrajectoryPoint
from tmrepro.reporting.captions import Caption, StatisticsTree, below_theta
from tmrepro.reporting.figures import embed
from tmrepro.reporting.masthead import masthead
from tmrepro.statistics import STATISTICS, StatisticInfo
from tmrepro.statistics.ranges import no_band
from tmrepro.store.finished import path_outside

Number = float | int | None

UNDEFINED = "–"
PAGE_BYTES = 1_500_000  # a size that mail programs and phones can handle
NOT_ON_THE_PAGE = {"parameters", "stages"}  # parts of provenance.json: long lists of names and hashes, for programs

_BEST_FIRST = ("TM", "GM", "LM", "none", "collapsed", "diverged")
_FIXED_FROM, _FIXED_TO = 1e-3, 1e5  # numbers outside are written with an exponent


@dataclass(frozen=True)
class PathSummary:
    """The path of training of a network: its points, and the shares of their variance along the two principal components."""

    points: Sequence[TrajectoryPoint]
    explained: Sequence[float]

    @property
    def last_cosine(self) -> float | None:
        """The cosine of the angle between the last step before the one that ends at theta*, and the direction to theta*."""
        home = next((index for index, point in enumerate(self.points) if point.distance == 0), len(self.points))
        steps = [point.cosine for point in self.points[:home] if point.cosine is not None]
        return steps[-1] if steps else None


@dataclass(frozen=True)
class ReportContext:
    """The content of the page.

    Args:
        title: the heading.
        spec_text: the resolved spec, YAML.
        spec_hash: its hash, in hexadecimal.
        minima: theta* of each network, in the order of the rows.
        statistics: surface -> model -> statistic -> value; None if undefined.
        figures: name -> PNG bytes, in the order of showing.
        provenance: JSON-like.
        warnings: what a reader should know before trusting the numbers.
        commands: what a command does -> the command line.
        captions: name of a figure -> its caption.
        links: name of a figure -> text -> address of its files, relative to the page (`figure_links`).
        paths: the recorded paths of training, by network.
        claims: the paper's claims, judged; None if the run lacks the networks that they compare.
        unit: of the losses.
    """

    title: str
    spec_text: str
    spec_hash: str
    minima: Mapping[str, Minimum]
    statistics: StatisticsTree
    figures: Mapping[str, bytes]
    provenance: Mapping[str, Any]
    warnings: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, Caption] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    paths: Mapping[str, PathSummary] = field(default_factory=dict)
    claims: Judgement | None = None
    unit: str = "nats"


def render_report(context: ReportContext) -> str:
    """Return the page, HTML in UTF-8.

    Raises:
        DamagedError: a figure cannot be read.
    """
    same: dict[bytes, list[str]] = {}
    for name, png in context.figures.items():
        same.setdefault(png, []).append(name)
    return render_with_pictures(
        "report.html.j2",
        pictures=same,
        report=context,
        masthead=masthead(context.provenance),
        figures=[(names, png) for png, names in same.items()],
        categories=_count_categories(context.minima),
        tables=[_table(surface, models) for surface, models in context.statistics.items()],
        planes={name: _planes(name, context.statistics) for name in context.minima},
        provenance=tree_lines(context.provenance),
    )


def render_with_pictures(
    template: str,
    *,
    pictures: Iterable[bytes],
    filters: Mapping[str, Callable[..., str]] = MappingProxyType({}),
    **values: Any,
) -> str:
    """Return the page `template` with the PNG files `pictures` embedded, as large as the page's size allows.

    Raises:
        DamagedError: one of them cannot be read.
    """
    environment, wanted = page_environment(), list(pictures)
    environment.filters.update(filters)
    page = environment.get_template(template)
    bare = page.render(**values, embedded={})
    return page.render(**values, embedded=embed(wanted, most=PAGE_BYTES - len(bare.encode("utf-8", "replace"))))


def figure_links(folder: Path, *, page: Path) -> dict[str, dict[str, str]]:
    """Return the addresses of the figure files of the run `folder`, relative to `page`: name -> text -> address."""
    home = os.path.relpath((folder / "figures").resolve(), page.resolve().parent)
    found: dict[str, dict[str, str]] = {}
    for kind, words in (("pdf", "PDF"), ("png", "full-size picture (PNG)")):
        for path in sorted((folder / "figures").glob(f"*.{kind}")):
            found.setdefault(path.stem, {})[words] = quote(os.fsencode(f"{home}/{path.name}"))
    return found


def render_claims(claims: Judgement) -> str:
    """Return the page of `tmrepro claims`, HTML in UTF-8."""
    origins = masthead(*({**provenance, "data": claims.data} for provenance in claims.provenances or ({},)))
    return page_environment().get_template("claims.html.j2").render(claims=claims, masthead=origins, embedded={})


def write_claims(claims: Judgement, path: Path, *, outside: Sequence[Path] = ()) -> None:
    """Write the page of `tmrepro claims` to `path`, which must not lie in one of the folders `outside`.

    Raises:
        UsageError: it does; the folder's manifest would become invalid.
        StorageError: `path` cannot be written.
    """
    write_page(render_claims(claims), path, outside=outside)


def write_page(page: str, path: Path, *, outside: Sequence[Path] = ()) -> None:
    """Write `page` to `path`, which must not lie in one of the folders `outside`.

    Raises:
        UsageError: it does; the folder's manifest would become invalid.
        StorageError: `path` cannot be written.
    """
    for folder in outside:
        path_outside(path, folder, option="file with --html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def page_environment() -> Environment:
    """Return the template engine of every page. It escapes all content. An undefined name is an error."""
    environment = Environment(
        loader=PackageLoader("tmrepro.reporting", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, reached=reached, seconds=seconds, percent=percent)
    return environment


def number(value: Number) -> str:
    """Return a number with four significant digits; a dash if it is undefined."""
    if value is None:
        return UNDEFINED
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if value == 0 or _FIXED_FROM <= abs(value) < _FIXED_TO:
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    return f"{value:.3e}"


def reached(value: Number) -> str:
    """Return a number as `number` does; "never" for an infinite one."""
    return "never" if value == math.inf else number(value)


def percent(value: Number) -> str:
    """Return a share as a percentage with two decimals."""
    return UNDEFINED if value is None else f"{100 * value:.2f} %"


def seconds(value: Number) -> str:
    """Return a duration: seconds below two minutes, hours, minutes and seconds above."""
    if value is None:
        return UNDEFINED
    return f"{value:.1f} s" if value < 120 else str(timedelta(seconds=round(value)))


def tree_lines(tree: Any, path: str = "") -> list[tuple[str, str]]:
    """Return a JSON-like tree as (path, value) lines."""
    if isinstance(tree, Mapping) and tree:
        return [
            line for key, value in tree.items() for line in tree_lines(value, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(tree, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in tree):
        return [line for place, item in enumerate(tree) for line in tree_lines(item, f"{path}[{place}]")]
    if isinstance(tree, list | tuple):
        return [(path, ", ".join(str(item) for item in tree) or UNDEFINED)]
    if tree is None or tree == {}:
        return [(path, UNDEFINED)] if path else []
    return [(path, str(tree).lower() if isinstance(tree, bool) else str(tree))]


@dataclass(frozen=True)
class _Row:
    """One statistic of a surface, over the networks."""

    info: StatisticInfo
    values: tuple[Number, ...]


@dataclass(frozen=True)
class _Table:
    surface: str
    models: tuple[str, ...]
    rows: tuple[_Row, ...]

    @property
    def folded(self) -> bool:
        """Whether it is of an additional pair of directions, which the page shows folded."""
        return "." in self.surface


def _table(surface: str, models: Mapping[str, Mapping[str, Number]]) -> _Table:
    """Return the statistics in the catalogue's order. Those that are not in the catalogue come last, under their names."""
    known = {info.name: info for info in STATISTICS}
    present = dict.fromkeys(name for values in models.values() for name in values)
    names = [name for name in known if name in present] + [name for name in present if name not in known]
    rows = tuple(
        _Row(
            known.get(name, StatisticInfo(name, "", range=no_band("unknown"))),
            tuple(values.get(name) for values in models.values()),
        )
        for name in names
    )
    return _Table(surface, tuple(models), rows)


def _planes(model: str, statistics: StatisticsTree) -> tuple[str, ...]:
    """Return a text for each plane in which theta* is not a minimum. Differences that may be rounding are left out."""
    lines = {surface: below_theta(models.get(model, {})) for surface, models in statistics.items()}
    return tuple(f"{surface}: {line}" for surface, line in lines.items() if line)


def _count_categories(minima: Mapping[str, Minimum]) -> list[tuple[str, int]]:
    found = [minimum.category for minimum in minima.values()]
    return [(category, found.count(category)) for category in _BEST_FIRST if category in found]
