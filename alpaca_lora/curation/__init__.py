"""Curation: named rules that say of each record why it is in or out, checks that compute, comparisons, and a ledger.

Light: regular expressions, the standard library's parsers and the novelty index; no model is asked.
"""

from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.decisions import RuleCount
from alpaca_lora.curation.pipeline import CurationResult, curate
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.curation.statistics import SetStatistics, describe_set

__all__ = [
    "RULES",
    "CurationResult",
    "CurationSettings",
    "Rule",
    "RuleCount",
    "SetStatistics",
    "Verdict",
    "curate",
    "describe_set",
]
