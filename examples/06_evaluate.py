"""Compare an adapter with its base on rows that it was not trained on, every number with its interval."""

import argparse

from alpaca_lora import EvaluationConfig, LocalTeacher, evaluate

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--adapter", default="runs/example-lora", help="an adapter or run directory; 02 makes this one")
parser.add_argument("--data", default="alpaca-mini", help="a set of records; rows of the training data are left out")
parser.add_argument("--output-dir", default="runs/example-evaluation")
parser.add_argument("--rows", type=int, default=20)
parser.add_argument("--max-new-tokens", type=int, default=128)
parser.add_argument(
    "--judge", action="store_true", help="let the embedded model judge, which is too small to do it well"
)
options = parser.parse_args()

result = evaluate(
    options.adapter,
    options.output_dir,
    data=options.data,
    judge=LocalTeacher() if options.judge else None,
    config=EvaluationConfig(rows=options.rows, max_new_tokens=options.max_new_tokens),
)
print("rows:", result.rows)
for measure in result.measures:
    for difference in measure.differences:
        low, high = difference.interval
        print(f"{measure.quantity.key}: {difference.value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}")
if result.win_rate:
    low, high = result.win_rate.interval
    print(f"win rate: {result.win_rate.win_rate:.1f} %, 95 % interval {low:.1f} to {high:.1f}")
print("look at", result.report)
