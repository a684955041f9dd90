"""The claims of the paper, judged over replicates.

document    claims.yaml: claims and their lines
exact       the test of two small samples, the effect and its interval
sources     the values of a claim, from runs and references
judge       the rule of judgement, one setting at a time
power       the smallest effects that are decided with a probability of 80%
"""

from __future__ import annotations

from tmrepro.claims.document import Claim, ClaimLine, Claims, load_claims, parse_claims
from tmrepro.claims.judge import Line, Sample, judge_setting
from tmrepro.claims.judgement import Judgement, compares_networks_of, judge, judge_folders
from tmrepro.claims.sources import Source, data_of, read_source

__all__ = [
    "Claim",
    "ClaimLine",
    "Claims",
    "Judgement",
    "Line",
    "Sample",
    "Source",
    "compares_networks_of",
    "data_of",
    "judge",
    "judge_folders",
    "judge_setting",
    "load_claims",
    "parse_claims",
    "read_source",
]
