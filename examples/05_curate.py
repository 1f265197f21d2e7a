"""Clean a set, look at what was found, and try another threshold on the same findings. No torch is imported."""

import argparse

from alpaca_lora import CurationSettings, curate

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", default="alpaca-mini", help="a file, a Hub dataset, or the packaged records")
parser.add_argument("--output-dir", default="runs/example-curated")
options = parser.parse_args()

result = curate(options.data, options.output_dir)
print(f"{result.read} read = {result.kept} kept + {result.dropped} dropped")
for rule in result.rules:
    print(
        f"{rule.rule}: {rule.dropped} dropped, {rule.repaired} repaired, {rule.flagged} flagged, {rule.verified} right"
    )

# The ledger holds every finding with its score, so deciding anew measures nothing.
strict = CurationSettings(thresholds={"near_duplicate": 0.55}, actions={"refusal": "drop"})
again = curate(options.data, f"{options.output_dir}-strict", settings=strict, replay=options.output_dir)
print(f"stricter: {again.kept} kept")
print("look at", result.output_dir / "report.html")
