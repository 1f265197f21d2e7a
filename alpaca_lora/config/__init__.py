"""Every user-facing knob: what it may be, what it is called, and where it is read from."""

from alpaca_lora.config.evaluating import EvaluationConfig
from alpaca_lora.config.generating import SelfInstructConfig
from alpaca_lora.config.judging import JudgeConfig
from alpaca_lora.config.sections import Settings
from alpaca_lora.config.settings import (
    FinetuneConfig,
    KernelSettings,
    LoraSettings,
    QuantizationSettings,
    config_from_dict,
    config_reference,
    load_config,
)
from alpaca_lora.config.teaching import TeacherSettings

__all__ = [
    "EvaluationConfig",
    "FinetuneConfig",
    "JudgeConfig",
    "KernelSettings",
    "LoraSettings",
    "QuantizationSettings",
    "SelfInstructConfig",
    "Settings",
    "TeacherSettings",
    "config_from_dict",
    "config_reference",
    "load_config",
]
