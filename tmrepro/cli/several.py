"""`tmrepro ls` and `tmrepro compare`: list and compare runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DebugOption
from tmrepro.cli.styles import PLAIN_WIDTH, terminal_width
from tmrepro.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tmrepro.comparison import Cell, Comparison, Listing, Row

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page to this HTML file.")]

STATE_STYLES = {"finished": "green", "unfinished": "yellow", "damaged": "red"}


def ls(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of runs.", show_default="runs")] = Path(
        "runs"
    ),
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    html: HtmlOption = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """List the runs and references in and below a folder: their state, spec, data, networks and surfaces.

    Nothing is verified: the state is what the folder records. Use `tmrepro verify RUN` to check a run.

    Examples:
      tmrepro ls

      tmrepro ls paper/reference --json | jq -r '.runs[] | [.folder, .state] | @tsv'
    """
    from tmrepro.comparison import list_folder, listing_csv, listing_page
    from tmrepro.reporting.report import write_page

    _one_of(as_json, as_csv)
    found = list_folder(folder)
    if html is not None:
        write_page(listing_page(found), html, outside=[folder / entry.folder for entry in found.entries])
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, ensure_ascii=False, allow_nan=False))
    elif as_csv:
        typer.echo(listing_csv(found), nl=False)
    else:
        _show_listing(found)


def compare(
    *,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Finished runs or references, at least two.", show_default=False),
    ],
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    html: HtmlOption = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Show finished runs side by side: the differences of their specs, the categories of their networks, their statistics.

    The table shows the main statistics; --json, --csv and --html have all of them. The exit code is 0 even if the runs differ.

    Examples:
      tmrepro compare runs/first runs/second paper/reference/quickstart

      tmrepro compare runs/* --csv > runs.csv
    """
    from tmrepro.comparison import compare_folders, comparison_csv, comparison_page
    from tmrepro.reporting.report import write_page

    _one_of(as_json, as_csv)
    found = compare_folders(runs)
    if html is not None:
        write_page(comparison_page(found), html, outside=runs)
    if as_json:
        typer.echo(found.text())
    elif as_csv:
        typer.echo(comparison_csv(found), nl=False)
    else:
        _show_comparison(found)


def _one_of(as_json: bool, as_csv: bool) -> None:  # noqa: FBT001 - two flags of the same kind
    if as_json and as_csv:
        raise UsageError("--json and --csv both print to standard output; choose one")


def _show_listing(found: "Listing") -> None:
    from rich.markup import escape
    from rich.text import Text

    from tmrepro.comparison.output import networks_in_words

    console = _console()
    if not found.entries:
        console.print(f"no runs in {escape(found.folder)}; create one with 'tmrepro run SPEC'", soft_wrap=True)
    else:
        table = _table("folder", "state", "spec", "data", "started", "networks", "surfaces")
        for entry in found.entries:
            state = Text(f"{entry.state} {entry.kind}", style=STATE_STYLES[entry.state])
            told = (entry.name, entry.data, entry.started[:16].replace("T", " "), networks_in_words(entry))
            cells = ("", "", "", entry.trouble, "") if entry.trouble else (*told, " ".join(entry.surfaces))
            table.add_row(Text(entry.folder), state, *map(Text, cells))
        console.print(table)
    if not found.complete:
        console.print("some folders were not searched: too many, too deep or not readable", soft_wrap=True)


def _show_comparison(found: "Comparison") -> None:
    from tmrepro.cli.display import TABLE_STATISTICS

    console = _console()
    sections: dict[str, tuple[Row, ...]] = {
        "origin": found.origins,
        "spec": found.spec,
        "network": tuple(row for row in found.networks if row.place[-1] == "category"),
        "statistic": tuple(row for row in found.statistics if row.place[-1] in TABLE_STATISTICS and row.is_shared),
    }
    for name, rows in sections.items():
        if name == "spec" and not rows:
            console.print("spec: no differences\n")
            continue
        table = _rows(name, rows, runs=found.runs)
        console.print(table)
        console.print()
    shown = len(sections["statistic"])
    console.print(
        f"{shown} of {len(found.statistics)} statistics, for surfaces that several runs have; --html, --json and --csv have all",
        soft_wrap=True,
    )


def _rows(name: str, rows: tuple["Row", ...], *, runs: tuple[str, ...]) -> "Table":
    from rich.text import Text

    from tmrepro.store.atomic import shown

    table = _table(name, *map(shown, runs))
    for row in rows:
        place = " ".join(row.place[:-1] if name == "network" else row.place)
        table.add_row(Text(shown(place)), *(Text(shown(_words(value))) for value in row.values))
    return table


def _words(value: "Cell") -> str:
    from tmrepro.cli.display import number

    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value)


def _table(*columns: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=terminal_width() or PLAIN_WIDTH)
