"""`tmrepro spec`: check, explain and hash specs. Needs no torch."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.app import App
from tmrepro.cli.run import DebugOption
from tmrepro.cli.styles import terminal_width
from tmrepro.spec.shipped import find_spec

SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A spec (YAML). The shipped specs are found from any folder.", show_default=False
    ),
]

spec_app = App(help="Check, explain and hash specs.", no_args_is_help=True)


@spec_app.command()
def check(
    file: SpecFile,
    *,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Report all errors in a spec, each with its line. Exit code 0: valid, 2: invalid.

    Example: tmrepro spec check spec/paper.yaml
    """
    from tmrepro.spec import expand_models, expand_surfaces, load_spec

    spec = load_spec(find_spec(file))
    points = sum(len(surface.models) * surface.spec.grid.K**2 for surface in expand_surfaces(spec))
    typer.echo(f"{file}: a valid spec ({len(expand_models(spec))} trainings, {points} points of surfaces)")


@spec_app.command()
def explain(
    file: SpecFile,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Print every value of a spec, defaults included, with its source: a section of the paper, or the reason for our choice.

    On a terminal, equal sections are shown once. With --json, in a pipe or in a file, every row is shown.

    Example: tmrepro spec explain spec/quickstart.yaml
    """
    from dataclasses import asdict

    from tmrepro.cli.explanations import wrap_explanations
    from tmrepro.spec import explain as explain_spec
    from tmrepro.spec import format_explanations, load_spec

    rows, width = explain_spec(load_spec(find_spec(file))), terminal_width()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False, allow_nan=False))
    elif width is not None:
        typer.echo(wrap_explanations(rows, width=width), nl=False)
    else:
        typer.echo(format_explanations(rows), nl=False)


@spec_app.command()
def schema(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A spec to check first. The schema does not depend on it.", show_default=False
        ),
    ] = None,
    *,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Print the JSON Schema of specs, for completion and checks in an editor.

    Example: tmrepro spec schema > spec/schema.json
    """
    from tmrepro.spec import dump_schema, load_spec

    if file is not None:
        load_spec(find_spec(file))
    typer.echo(dump_schema(), nl=False)


@spec_app.command("hash")
def hash_(
    file: SpecFile,
    *,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Print the hash of a spec: the SHA-256 of its resolved form in RFC 8785. Formatting and comments do not affect it.

    Example: tmrepro spec hash spec/quickstart.yaml
    """
    from tmrepro.spec import load_spec, spec_hash

    typer.echo(spec_hash(load_spec(find_spec(file))))
