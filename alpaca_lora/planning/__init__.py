"""Decide what a run shall do before anything heavy is loaded: presets, and what `None` in a config becomes."""

from alpaca_lora.planning.decisions import Decisions, Hardware, decide, decide_intervals, validation_count
from alpaca_lora.planning.presets import Preset, available_presets, preset

__all__ = [
    "Decisions",
    "Hardware",
    "Preset",
    "available_presets",
    "decide",
    "decide_intervals",
    "preset",
    "validation_count",
]
