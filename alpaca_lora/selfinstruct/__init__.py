"""Self-Instruct: new tasks from seed tasks, within a budget, and what makes a task new."""

from alpaca_lora.selfinstruct.novelty import Match, NoveltyIndex, compared_text
from alpaca_lora.selfinstruct.pipeline import GenerationResult, generate_instructions
from alpaca_lora.selfinstruct.preparation import Preparation, prepare_generation
from alpaca_lora.selfinstruct.seeds import Seeds, SeedTask, load_seeds
from alpaca_lora.selfinstruct.summary import GenerationSummary, render_generation

__all__ = [
    "GenerationResult",
    "GenerationSummary",
    "Match",
    "NoveltyIndex",
    "Preparation",
    "SeedTask",
    "Seeds",
    "compared_text",
    "generate_instructions",
    "load_seeds",
    "prepare_generation",
    "render_generation",
]
