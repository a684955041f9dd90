"""All claims, judged in all settings of one spec. `tmrepro claims --json` prints this, and claims.json stores it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from tmrepro.claims.document import OF_TRAINING, Claim, Claims, load_claims
from tmrepro.claims.judge import VERDICTS, Line, judge_setting, least_seeds
from tmrepro.claims.sources import Source, read_source, require_one_spec, sample_of, settings_of
from tmrepro.spec import spec_hash
from tmrepro.spec.json_text import dump_json


@dataclass(frozen=True)
class Judgement:
    """The lines by setting, and what is shown with them. `seeds` is the largest number of training seeds of a network.

    `provenances` are those of the folders, to show where the values come from. They are not in the document.
    """

    settings: dict[str, tuple[Line, ...]]
    statements: dict[str, dict[str, Any]]
    spec_hashes: tuple[str, ...]
    claims_hash: str
    data: dict[str, Any]
    seeds: int
    provenances: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_tested(self) -> bool:
        """Whether any line has a test. Without replicates, none has."""
        return any(line.p is not None for lines in self.settings.values() for line in lines)

    @property
    def why_not(self) -> str:
        """The reason why no line has a test."""
        if not self.settings:
            return "the spec has no surface."
        if self.seeds == 1:
            needed = least_seeds(sum(len(lines) for lines in self.settings.values()) // len(self.settings))
            return (
                "there is one training seed, and claims are judged over several. With 'replicates: {training: "
                f"{needed}}}' in the spec, or more, they can be decided."
            )
        return next(line.reason for lines in self.settings.values() for line in lines) + "."

    def counts(self, setting: str) -> tuple[tuple[str, int], ...]:
        """Return how many lines of a setting have each verdict."""
        found = [line.verdict for line in self.settings[setting]]
        return tuple((verdict, found.count(verdict)) for verdict in VERDICTS if verdict in found)

    def document(self) -> dict[str, Any]:
        """Return the judgement as JSON values (docs/reference/claims.md)."""
        return {
            "settings": {name: [line.document() for line in lines] for name, lines in self.settings.items()},
            "spec_hash": self.spec_hashes[0],
            "data": self.data,
            "spec_hashes": list(self.spec_hashes),
            "claims": self.claims_hash,
            "statements": self.statements,
        }

    def text(self) -> str:
        """Return the document as the text of a JSON file."""
        return dump_json(self.document())


def judge_folders(folders: Sequence[Path], *, claims: Claims | None = None) -> Judgement:
    """Judge the claims over finished runs and references of one spec.

    Raises:
        UsageError: their specs differ in more than seeds, or a training seed appears twice.
        DamagedError: one of them is not a finished run or reference, or is damaged.
    """
    return judge([read_source(folder) for folder in folders], claims=claims or load_claims())


def judge(sources: Sequence[Source], *, claims: Claims) -> Judgement:
    """Judge the claims over `sources`, as `judge_folders` does over folders."""
    require_one_spec(sources)
    settings = settings_of(sources)
    return Judgement(
        settings={name: _setting(sources, name, claims) for name in settings},
        statements={claim.id: _statement(sources, claim) for claim in claims.claims if not claim.lines},
        spec_hashes=tuple(spec_hash(source.spec) for source in sources),
        claims_hash=hashlib.sha256(rfc8785.dumps(claims.model_dump(mode="json"))).hexdigest(),
        data=dict(sources[0].data),
        seeds=sum(source.spec.replicates.training for source in sources),
        provenances=tuple(source.provenance for source in sources),
    )


def compares_networks_of(claims: Claims, source: Source) -> bool:
    """Return whether the spec has every network that the claims compare."""
    compared = {name for _, line in claims.lines for name in (line.larger, line.smaller)}
    return compared <= {model.name for model in source.spec.models}


def _setting(sources: Sequence[Source], setting: str, claims: Claims) -> tuple[Line, ...]:
    samples = [
        (
            sample_of(sources, network=line.larger, statistic=line.statistic, setting=setting),
            sample_of(sources, network=line.smaller, statistic=line.statistic, setting=setting),
        )
        for _, line in claims.lines
    ]
    return judge_setting(claims.lines, samples)


def _statement(sources: Sequence[Source], claim: Claim) -> dict[str, Any]:
    """Return a claim without a test, with the measured values, by setting if they are of a surface."""
    networks = [model.name for model in sources[0].spec.models]

    def values(statistic: str, setting: str) -> dict[str, dict[str, Any]]:
        samples = {name: sample_of(sources, network=name, statistic=statistic, setting=setting) for name in networks}
        return {
            name: {str(seed): value for seed, value in sorted(sample.values.items())}
            for name, sample in samples.items()
        }

    settings = settings_of(sources)
    return {
        "section": claim.section,
        "sentence": claim.sentence,
        "by_construction": claim.by_construction,
        "measured": {
            statistic: values(statistic, "")
            if statistic in OF_TRAINING
            else {setting: values(statistic, setting) for setting in settings}
            for statistic in claim.measured
        },
    }
