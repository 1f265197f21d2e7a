"""Self-Instruct: new tasks from seed tasks, and what makes a task new."""

from alpaca_lora.selfinstruct.novelty import Match, NoveltyIndex, compared_text

__all__ = ["Match", "NoveltyIndex", "compared_text"]
