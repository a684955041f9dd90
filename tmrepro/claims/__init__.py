"""The claims of the paper, judged over replicates.

document    claims.yaml: claims and their lines
exact       the test of two small samples, the effect and its interval
judge       the rule of judgement, a setting at a time
"""

from __future__ import annotations

from tmrepro.claims.document import Claim, ClaimLine, Claims, load_claims, parse_claims
from tmrepro.claims.judge import Line, Sample, judge_setting

__all__ = ["Claim", "ClaimLine", "Claims", "Line", "Sample", "judge_setting", "load_claims", "parse_claims"]
