"""The Stanford Alpaca recipe as a library.

This file is the public face and nothing else. Records and prompts need only the standard library and are imported at
once. A name that needs more (pydantic, torch, transformers, trl, peft) is imported when it is first used, so a project
which only formats prompts never pays for a training stack.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from alpaca_lora import errors
from alpaca_lora._version import __version__
from alpaca_lora.prompts import Prompter, Template, available_templates
from alpaca_lora.records import Record, load_records, save_records

__all__ = [
    "CurationResult",
    "CurationSettings",
    "Estimate",
    "EvaluationConfig",
    "EvaluationResult",
    "FinetuneConfig",
    "FinetuneResult",
    "GenerationResult",
    "KernelSettings",
    "LocalTeacher",
    "LoraSettings",
    "OpenAITeacher",
    "Prompter",
    "QuantizationSettings",
    "Record",
    "ReplicationResult",
    "SelfInstructConfig",
    "Template",
    "VerificationResult",
    "__version__",
    "available_templates",
    "curate",
    "errors",
    "evaluate",
    "export",
    "finetune",
    "generate_instructions",
    "load",
    "load_config",
    "load_records",
    "merge_adapter",
    "plan",
    "replicate",
    "save_records",
    "verify",
]

if TYPE_CHECKING:
    from alpaca_lora.config import (
        EvaluationConfig,
        FinetuneConfig,
        KernelSettings,
        LoraSettings,
        QuantizationSettings,
        SelfInstructConfig,
        load_config,
    )
    from alpaca_lora.curation import CurationResult, CurationSettings, curate
    from alpaca_lora.evaluation.outcome import EvaluationResult
    from alpaca_lora.evaluation.recipe import evaluate
    from alpaca_lora.exports import export, merge_adapter
    from alpaca_lora.models import LocalTeacher
    from alpaca_lora.planning import Estimate, plan
    from alpaca_lora.replication.findings import VerificationResult
    from alpaca_lora.replication.recipe import ReplicationResult, replicate
    from alpaca_lora.replication.verification import verify
    from alpaca_lora.selfinstruct import GenerationResult, generate_instructions
    from alpaca_lora.serving import load
    from alpaca_lora.teachers import OpenAITeacher
    from alpaca_lora.training import FinetuneResult, finetune
else:
    # Out of the type checker's sight: a module with a visible `__getattr__` makes every misspelling an `object`.
    _HOMES = {
        "CurationResult": "alpaca_lora.curation",
        "CurationSettings": "alpaca_lora.curation",
        "Estimate": "alpaca_lora.planning",
        "EvaluationConfig": "alpaca_lora.config",
        "EvaluationResult": "alpaca_lora.evaluation.outcome",
        "FinetuneConfig": "alpaca_lora.config",
        "FinetuneResult": "alpaca_lora.training",
        "GenerationResult": "alpaca_lora.selfinstruct",
        "KernelSettings": "alpaca_lora.config",
        "LocalTeacher": "alpaca_lora.models",
        "LoraSettings": "alpaca_lora.config",
        "OpenAITeacher": "alpaca_lora.teachers",
        "QuantizationSettings": "alpaca_lora.config",
        "ReplicationResult": "alpaca_lora.replication.recipe",
        "SelfInstructConfig": "alpaca_lora.config",
        "VerificationResult": "alpaca_lora.replication.findings",
        "curate": "alpaca_lora.curation",
        "evaluate": "alpaca_lora.evaluation.recipe",
        "export": "alpaca_lora.exports",
        "finetune": "alpaca_lora.training",
        "generate_instructions": "alpaca_lora.selfinstruct",
        "load": "alpaca_lora.serving",
        "load_config": "alpaca_lora.config",
        "merge_adapter": "alpaca_lora.exports",
        "plan": "alpaca_lora.planning",
        "replicate": "alpaca_lora.replication.recipe",
        "verify": "alpaca_lora.replication.verification",
    }

    def __getattr__(name: str) -> object:
        """Import a name on its first use and keep it."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        """List the public names, those that are not imported yet among them."""
        return sorted({*globals(), *__all__})
