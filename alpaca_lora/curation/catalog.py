"""Every rule, in the order in which a record meets them: what is wrong in itself, then comparisons."""

from alpaca_lora.curation.answers import ANSWERS
from alpaca_lora.curation.characters import CHARACTERS
from alpaca_lora.curation.forms import FORMS
from alpaca_lora.curation.leftovers import LEFTOVERS
from alpaca_lora.curation.letters import LETTERS
from alpaca_lora.curation.measures import MEASURES
from alpaca_lora.curation.privacy import PRIVACY
from alpaca_lora.curation.quantities import QUANTITIES
from alpaca_lora.curation.requests import REQUESTS
from alpaca_lora.curation.rule import Rule
from alpaca_lora.curation.syntax import SYNTAX
from alpaca_lora.records import Record

__all__ = ["COMPARISONS", "CONTAMINATION", "EXACT", "CONFLICT", "NEAR", "RULES"]

_TASK = Record("Name the three primary colours of light.", "", "Red, green and blue.")

EXACT, CONFLICT, NEAR, CONTAMINATION = "exact_duplicate", "conflicting_answer", "near_duplicate", "contamination"

COMPARISONS = (
    Rule(
        name=EXACT,
        severity="error",
        about="repeats an earlier record",
        fix="Keep one of them.",
        fixture=_TASK,
    ),
    Rule(
        name=CONFLICT,
        severity="error",
        about="answers the task of an earlier record in another way",
        fix="Keep the better answer.",
        fixture=_TASK,
    ),
    Rule(
        name=NEAR,
        severity="error",
        about="asks almost the same as an earlier record that is kept",
        fix="Keep one of them, or make the tasks more different.",
        threshold=0.7,
        floor=0.5,
        fixture=_TASK,
    ),
    Rule(
        name=CONTAMINATION,
        severity="error",
        about="asks almost the same as a record that a model will be evaluated on",
        fix="Leave it out of training.",
        threshold=0.7,
        floor=0.5,
        fixture=_TASK,
    ),
)
"""Rules that compare records; similarities go from 0 to 1."""

RULES = {
    rule.name: rule
    for rule in (
        *CHARACTERS,
        *LEFTOVERS,
        *REQUESTS,
        *ANSWERS,
        *QUANTITIES,
        *MEASURES,
        *LETTERS,
        *FORMS,
        *SYNTAX,
        *PRIVACY,
        *COMPARISONS,
    )
}
"""Every rule by its name."""
