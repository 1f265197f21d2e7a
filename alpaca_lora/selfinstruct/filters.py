"""Which tasks are kept. Each rule has a name, and a task that is dropped is counted under it.

`stanford_rule` is the published filter, which looks at the instruction only. `modern_rule` and `output_rule` are ours.

Source: `post_process_gpt3_response` and `find_word_in_string` in
https://github.com/tatsu-lab/stanford_alpaca/blob/761dc5bfbdeeffa89b8bff5d038781a4055f796a/generate_instruction.py
"""

import re
import string

from alpaca_lora.records import Record
from alpaca_lora.records.fields import text_problem
from alpaca_lora.records.record import DEFAULT_LIMITS, FIELDS
from alpaca_lora.teachers.secrets import REDACTED

__all__ = ["modern_rule", "output_rule", "stanford_rule", "unstorable"]

_FEWEST_WORDS, _MOST_WORDS = 4, 150
_STANFORD_WORDS = (
    "image|images|graph|graphs|picture|pictures|file|files|map|maps|draw|plot|go to|video|audio|music|flowchart|diagram"
)
_STANFORD_BLACKLIST = re.compile(rf"\b({_STANFORD_WORDS})\b", re.IGNORECASE)
_MODERN_BLACKLIST = re.compile(
    r"\b(images?|pictures?|photos?|photographs?|videos?|audio|flowcharts?|diagrams?|screenshots?|attached|attachments?)\b",
    re.IGNORECASE,
)
_INJECTION = re.compile(
    r"\b(ignore|disregard|forget)\b.{0,30}\b(previous|prior|above|earlier)\b.{0,20}\b(instructions?|prompts?|rules)\b",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL = re.compile(
    r"\b(as an ai\b|as a (large )?language model|i('m| am) (sorry|unable)|i (can(no|')t|am not able to) (assist|help))",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"\W*(no[ _-]?output|n/?a|todo|tbd)?\W*", re.IGNORECASE)
_TURN = re.compile(r"^#+ ?(instruction|input|response|output) ?:|^\d+\. (instruction|input|output):", re.I | re.M)
_PLACEHOLDER = re.compile(
    r"(?<!\w)\[(insert|your|name|text|input)\b[^\]]*\]|<(insert|your|text|input)\b[^>=]*>", re.IGNORECASE
)
_UNSTORABLE = {"surrogate": "half_character", "size": "oversized"}
"""Rules by the kind of problem that the reader would have; a NUL is a control character before that."""


def unstorable(record: Record) -> str | None:
    r"""Return the rule that drops text which no data file should hold, or that its reader would refuse; else None.

    >>> unstorable(Record("Name a smiling face.", "", "\ud83d"))
    'half_character'
    """
    for field in FIELDS:
        text = getattr(record, field)
        if any(character < " " and character not in "\t\n\r" for character in text) or "\x7f" in text:
            return "control_character"
        if problem := text_problem(field, text, DEFAULT_LIMITS):
            return _UNSTORABLE[problem.kind]
    return None


def stanford_rule(record: Record) -> str | None:
    """Return the first published rule that drops the instruction, or None.

    >>> stanford_rule(Record("Draw a map of the city."))
    'blacklist'
    """
    instruction = record.instruction
    words = len(instruction.split())
    if words < _FEWEST_WORDS:
        return "too_short"
    if words > _MOST_WORDS:
        return "too_long"
    if _STANFORD_BLACKLIST.search(instruction):
        return "blacklist"
    if instruction.startswith("Write a program"):
        return "write_a_program"
    if instruction[0] in string.punctuation:
        return "starts_with_punctuation"
    if not instruction[0].isascii():
        return "starts_with_non_ascii"
    return None


def modern_rule(record: Record) -> str | None:
    """Return the first rule of the modern profile that drops the instruction or its input, or None."""
    instruction = record.instruction
    words = len(instruction.split())
    if (words if instruction.isascii() else len(instruction) // 2) < _FEWEST_WORDS:
        return "too_short"
    if words > _MOST_WORDS:
        return "too_long"
    if _MODERN_BLACKLIST.search(instruction):
        return "blacklist"
    if instruction[0] in string.punctuation and instruction[0] not in "\"'(¿¡":
        return "starts_with_punctuation"
    if _INJECTION.search(instruction):
        return "injection"
    if _PLACEHOLDER.search(f"{instruction}\n{record.input}"):
        return "placeholder"
    return None


def output_rule(record: Record) -> str | None:
    """Return the first rule that drops a task for its output, or None."""
    output = record.output.strip()
    if _NOTHING.fullmatch(output) and not any(character.isalnum() for character in output):
        return "empty_output"
    if _NOTHING.fullmatch(output):
        return "no_output"
    if output == record.input.strip():
        return "output_is_input"
    if output == record.instruction.strip():
        return "output_is_instruction"
    if output.endswith(":"):
        return "output_ends_with_colon"
    if _REFUSAL.search(output[:200]):
        return "refusal"
    if _TURN.search(f"{record.input}\n{output}"):
        return "merged_tasks"
    if REDACTED in f"{record.instruction}{record.input}{output}":
        return "holds_key"
    return None
