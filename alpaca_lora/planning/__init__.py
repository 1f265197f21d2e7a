"""Decide what a run shall do before anything heavy is loaded: presets, open settings, and whether it will fit."""

from alpaca_lora.planning.decisions import Decisions, Hardware, Precision, count_steps, decide, decide_intervals
from alpaca_lora.planning.fitting import Fix, settle_memory
from alpaca_lora.planning.forecast import Estimate, estimate, plan
from alpaca_lora.planning.memory import Item, checkpoint_bytes, process_bytes
from alpaca_lora.planning.presets import Preset, available_presets, preset
from alpaca_lora.planning.shapes import ModelShape, available_shapes, config_of, refuse_quantised, shape_of
from alpaca_lora.planning.validation import validation_count

__all__ = [
    "Decisions",
    "Estimate",
    "Fix",
    "Hardware",
    "Item",
    "ModelShape",
    "Precision",
    "Preset",
    "available_presets",
    "available_shapes",
    "checkpoint_bytes",
    "config_of",
    "count_steps",
    "decide",
    "decide_intervals",
    "estimate",
    "plan",
    "preset",
    "process_bytes",
    "refuse_quantised",
    "settle_memory",
    "shape_of",
    "validation_count",
]
