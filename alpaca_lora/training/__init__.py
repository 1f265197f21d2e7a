"""Fine-tuning: records in, a checked adapter and a report out."""

from alpaca_lora.training.preparation import Preparation, prepare
from alpaca_lora.training.recipe import FinetuneResult, finetune

__all__ = ["FinetuneResult", "Preparation", "finetune", "prepare"]
