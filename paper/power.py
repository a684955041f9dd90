"""Write power.json: the smallest effect that the test of the claims decides, by the number of seeds a side."""

from pathlib import Path

from tmrepro.claims import load_claims
from tmrepro.claims.power import power_table
from tmrepro.spec.json_text import dump_json

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    table = power_table(load_claims(here / "claims.yaml"))
    (here / "power.json").write_text(dump_json(table), encoding="utf-8")
