"""What a person looks at after a run: the page, the picture, the model card and the last words on the terminal.

Functions of `RunSummary` and the lines of metrics.jsonl. Standard library only, but for matplotlib in `draw_loss`.
"""

from alpaca_lora.reporting.card import render_card
from alpaca_lora.reporting.cautions import list_cautions
from alpaca_lora.reporting.page import render_report
from alpaca_lora.reporting.picture import draw_loss
from alpaca_lora.reporting.summary import AnswerPair, DataSummary, ListedRow, Metrics, RunSummary, Status
from alpaca_lora.reporting.terminal import render_summary

__all__ = [
    "AnswerPair",
    "DataSummary",
    "ListedRow",
    "Metrics",
    "RunSummary",
    "Status",
    "draw_loss",
    "list_cautions",
    "render_card",
    "render_report",
    "render_summary",
]
