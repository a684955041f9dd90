"""Listings and comparisons as CSV, for spreadsheets, and as pages. Numbers keep all their digits in CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from tmrepro.comparison.listing import Entry, Listing
from tmrepro.comparison.several import Cell, Comparison, Row
from tmrepro.reporting.report import number, page_environment
from tmrepro.statistics import STATISTICS

# A spreadsheet takes a cell with such a beginning for a formula. A folder can have any name.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?")


def listing_csv(listing: Listing) -> str:
    """Return a line for each run or reference."""
    return _csv(
        ("folder", "kind", "state", "name", "data", "started", "networks", "surfaces", "spec_hash", "trouble"),
        (
            (
                entry.folder, entry.kind, entry.state, entry.name, entry.data, entry.started,
                networks_in_words(entry), " ".join(entry.surfaces), entry.spec_hash, entry.trouble,
            )
            for entry in listing.entries
        ),
    )  # fmt: skip


def comparison_csv(found: Comparison) -> str:
    """Return a column for each run. `table` and `place` identify a line. Undefined is an empty cell."""
    tables = {
        "origin": found.origins,
        "spec": found.spec,
        "network": found.networks,
        "statistic": found.statistics,
    }
    return _csv(
        ("table", "place", *found.runs),
        ((table, "/".join(row.place), *row.values) for table, rows in tables.items() for row in rows),
    )


def listing_page(listing: Listing) -> str:
    """Return the page of `tmrepro ls`, HTML."""
    page = page_environment().get_template("listing.html.j2")
    return page.render(listing=listing, networks=networks_in_words)


def comparison_page(found: Comparison) -> str:
    """Return the page of `tmrepro compare`, HTML."""
    page = page_environment().get_template("comparison.html.j2")
    meanings = {info.name: info.description for info in STATISTICS}
    return page.render(found=found, cell=cell_in_words, meanings=meanings, statistics=_grouped(found.statistics))


def networks_in_words(entry: Entry) -> str:
    """Return networks with their categories, as in "dnn TM, cnn GM"."""
    found = entry.networks or {}
    return ", ".join(f"{name} {category or 'not trained yet'}" for name, category in found.items())


def cell_in_words(value: Cell) -> str:
    """Return a number with four digits, a dash for None, and text unchanged."""
    return value if isinstance(value, str) else number(value)


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each surface and network."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.place[0], row.place[1]), []).append(row)
    return found


def _csv(header: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_harmless, header))
    for row in rows:
        writer.writerow("" if value is None else _harmless(value) for value in row)
    return buffer.getvalue()


def _harmless(value: Cell) -> Cell:
    """Return text that spreadsheets do not take for a formula. A number stays a number, in its shortest exact form."""
    if not isinstance(value, str):
        return repr(value)
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value
