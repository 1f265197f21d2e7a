"""Verdicts of a judge, and win rates from them, with intervals: AlpacaEval's own, length-controlled, without position.

Verdicts come from a file, from a teacher, or from a person who does not know whose answers they are. Needs numpy only.
`statistics` holds what is not about language models.
"""

from alpaca_lora.evaluation.annotations import (
    Annotation,
    ModelOutput,
    load_annotations,
    load_model_outputs,
    save_annotations,
    save_model_outputs,
)
from alpaca_lora.evaluation.blind import BlindComparison, seal_comparison
from alpaca_lora.evaluation.judge import judge_outputs
from alpaca_lora.evaluation.judgement import JudgeResult
from alpaca_lora.evaluation.position import PositionBias, measure_position_bias
from alpaca_lora.evaluation.rating import BlindResult, score_votes
from alpaca_lora.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    comparisons_needed,
    exact_interval,
    resolvable_share,
    share_interval,
    standard_error,
    wilson_interval,
)
from alpaca_lora.evaluation.winrate import LengthControlled, WinRate, measure_win_rate

__all__ = [
    "Annotation",
    "BlindComparison",
    "BlindResult",
    "Interval",
    "JudgeResult",
    "LengthControlled",
    "ModelOutput",
    "PositionBias",
    "WinRate",
    "bootstrap_difference",
    "comparisons_needed",
    "exact_interval",
    "judge_outputs",
    "load_annotations",
    "load_model_outputs",
    "measure_position_bias",
    "measure_win_rate",
    "resolvable_share",
    "save_annotations",
    "save_model_outputs",
    "score_votes",
    "seal_comparison",
    "share_interval",
    "standard_error",
    "wilson_interval",
]
