"""`tmrepro spec`, through its Typer app."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tmrepro.cli.spec import spec_app
from tmrepro.errors import SpecError
from tmrepro.spec import dump_schema, load_spec, spec_hash

PAPER = Path(__file__).parents[2] / "spec" / "paper.yaml"


def output(*arguments):
    result = CliRunner().invoke(spec_app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_check_says_that_a_spec_is_valid():
    assert output("check", PAPER) == f"{PAPER}: a valid spec (3 trainings, 7803 points of surfaces)\n"


def test_check_leaves_the_error_to_the_main_program(tmp_path):
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    with pytest.raises(SpecError, match=r"bad.yaml:1:1: data: is missing"):
        CliRunner().invoke(spec_app, ["check", str(tmp_path / "bad.yaml")], catch_exceptions=False)


def test_hash_is_that_of_the_resolved_spec():
    assert output("hash", PAPER) == spec_hash(load_spec(PAPER)) + "\n"


@pytest.mark.parametrize("arguments", [(), (PAPER,)])
def test_schema_is_printed_with_or_without_a_file(arguments):
    assert output("schema", *arguments) == dump_schema()


def test_explain_prints_a_table_or_json():
    assert "training.optimizer.lr" in output("explain", PAPER)
    rows = {row["path"]: row for row in json.loads(output("explain", PAPER, "--json"))}
    assert rows["surfaces[0].grid.K"]["value"] == 51
    assert rows["surfaces[0].grid.step"]["paper"] == "2"
