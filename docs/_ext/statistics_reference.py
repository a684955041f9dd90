"""Every stored statistic and every number of minimum.json, from the catalogue that the program itself uses."""

from __future__ import annotations

from plain import as_markdown

from tmrepro.statistics.catalogue import MINIMUM_NUMBERS, STATISTICS, StatisticInfo


def surface_statistics() -> str:
    """Markdown: a table of the statistics of a surface."""
    return _table(STATISTICS)


def minimum_numbers() -> str:
    """Markdown: a table of the numbers of minimum.json."""
    return _table(MINIMUM_NUMBERS)


def _table(infos: tuple[StatisticInfo, ...]) -> str:
    rows = [f"| `{info.name}` | {as_markdown(info.description)} | {info.unit} |" for info in infos]
    return "\n".join(["| name | what it is | unit |", "|---|---|---|", *rows]) + "\n"
