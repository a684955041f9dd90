"""claims.yaml: the shipped one, and what is refused in words, with its line."""

import pytest

from tmrepro.claims import load_claims, parse_claims
from tmrepro.errors import SpecError

VALID = """\
version: 1
claims:
  - id: C1
    section: "3.2"
    sentence: One is rougher.
    lines:
      - {id: C1.roughness, sentence: Rougher., statistic: roughness, larger: dnn, smaller: cnn}
"""


def refused(text: str) -> str:
    with pytest.raises(SpecError) as error:
        parse_claims(text, source="claims.yaml")
    return str(error.value)


def test_the_papers_claims_are_there_and_few_enough_for_six_seeds() -> None:
    claims = load_claims()
    assert [claim.id for claim in claims.claims] == [f"C{number}" for number in range(10)]
    assert {claim.id for claim in claims.claims if not claim.lines} == {"C0", "C8"}
    assert len(claims.lines) / 924 <= 0.05  # Holm's first step with 6 seeds a side, whose least p is 1 of 924
    assert {name for _, line in claims.lines for name in (line.larger, line.smaller)} == {"dnn", "cnn", "resnet50"}
    assert {line.id for _, line in claims.lines if line.factor == 2} >= {"C4.epochs", "C5.epochs", "C5.epochs.cnn"}


def test_a_valid_text_is_read() -> None:
    ((claim, line),) = parse_claims(VALID).lines
    assert (claim.section, line.id, line.factor) == ("3.2", "C1.roughness", 1.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "statistic: roughness",
            "statistic: roughnes",
            "claims.yaml:7:48: claims[0].lines[0].statistic: unknown statistic 'roughnes'; did you mean 'roughness'?",
        ),
        ("statistic: roughness", "statistic: __import__('os')", "unknown statistic \"__import__('os')\""),
        ("smaller: cnn", "smaller: dnn", "lines[0].smaller: must be another network than larger (dnn)"),
        ("id: C1.roughness", "id: C2.roughness", "must begin with C1."),
        ("larger: dnn", "largest: dnn", "claims[0].lines[0].largest: unknown field; did you mean 'larger'?"),
        ("smaller: cnn}", "smaller: cnn, factor: 0.5}", "factor: must be at least 1 (got 0.5)"),
        ("smaller: cnn}", "smaller: cnn, factor: true}", "factor: must be a number (got true)"),
        ('section: "3.2"', "section: !!python/name:os.system x", "tags are not allowed"),
        (
            "version: 1",
            "version: 2",
            "claims.yaml:1:1: version: must be 1, the only version of the format so far (got 2)",
        ),
        ("    lines:", "    measured: [roughness]\n    lines:", "measured: belongs to by_construction"),
        ("    lines:", "    by_construction: So it is.\n    lines:", "either lines or by_construction"),
        ("larger: dnn", "larger: ../x", "must be 1 to 64 of a-z"),
        (VALID.split("claims:")[1], " []\n", "claims: must have at least 1 (got 0)"),
        (VALID, "- 1\n", "must be a mapping (got a list)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, message: str) -> None:
    assert old in VALID
    assert message in refused(VALID.replace(old, new))


def test_an_id_stands_once() -> None:
    line = VALID.splitlines()[-1]
    assert "claims.yaml:8:10: claims[0].lines[1].id: appears twice ('C1.roughness')" in refused(f"{VALID}{line}\n")


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = VALID.replace("roughness, larger", "rough, larger").replace("section:", "sections:")
    assert len(refused(text).splitlines()) == 3  # the unknown field, the missing one, the unknown statistic


def test_a_file_that_is_not_there_is_an_error_in_words(tmp_path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_claims(tmp_path / "claims.yaml")
