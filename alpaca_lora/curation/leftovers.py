"""What generators and converters leave in the text: markers, placeholders, answers cut short."""

import re
from dataclasses import replace

from alpaca_lora.curation.characters import visible
from alpaca_lora.curation.rule import Rule, Verdict, wrong
from alpaca_lora.records import Record

__all__ = ["LEFTOVERS"]

_NO_INPUT = re.compile(
    r"\W*(?:no[ _-]?(?:additional |further )?inputs?(?: (?:needed|required|provided|given|necessary))?)\W*", re.I
)
_ABOUT_WORDS = re.compile(
    r"\b(?:words?|terms?|phrases?|abbreviations?|acronyms?|stands? for|means?|translate|synonyms?|antonyms?|spell)\b",
    re.I,
)
_NO_OUTPUT = re.compile(
    r"[\s\"'`<>\[\]().*_-]*(?:n ?/ ?a|none|null|nil|tbd|todo|no[ _-]?(?:output|answer|response)|output|placeholder"
    r"|not (?:applicable|available))[\s\"'`<>\[\]().*_-]*|[.,;:!?'\"-]{1,3}|-+|\.+",
    re.I,
)
_WORD_OR_NONE = re.compile(r"(?:none|null|nil|output|placeholder)\.?", re.I)
_WANTS_TEXT = re.compile(
    r"^\W*(?:please )?(?:explain|describe|write|compose|summari[sz]e|paraphrase|rewrite|suggest|discuss|tell"
    r"|generate|create|design)\b",
    re.I,
)
_ABOUT_A_WORD = re.compile(r"\bword\b|onyms?\b|\breturns?\b", re.I)
_NOT_APPLICABLE = re.compile(r"\W*n ?/ ?a\W*|\W*not applicable\W*", re.I)
_MERGED = re.compile(
    r"(?:^|\n)[ \t]*#{2,3}[ \t]*(?:\n|$)"
    r"|(?:^|\n)[ \t]*(?:#{2,3} ?\d{0,2}\.? ?|\d{1,2}\. ?)Instruction ?:"
    r"|(?:^|\n)[ \t]*#{2,3} ?(?:Input|Response) ?:"
    r"|(?:^|\n)[ \t]*(\d{1,2})\. ?Input ?:[^\n]*(?:\n[^\n]*){0,50}?\n[ \t]*\1\. ?Output ?:",
    re.I,
)
_MARKER = re.compile(
    r"(?:^|\n)[ \t]*(?:#{2,3} ?\d{0,2}\.? ?|\d{1,2}\. ?)(?:Instruction|Input|Output|Response) ?:"
    r"|\n[ \t]*(?:Instruction|Input|Output|Response) ?:\s*\Z|<no ?input>|<no ?output>",
    re.I,
)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_CUT_YEAR = re.compile(
    rf"(?<!\d )(?<!\bone )\b(?:in|since|until|till|year|during|early|late|mid|(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?,)"
    " 20$"
)
"""Stanford's stop "20." leaves this of 2020. A day, as in "March 20", a sum and a share are whole without the stop."""

_CUT_MONEY = re.compile(r"\b(?:costs?|for|worth|pays?|paid|at|is|was|about|spent|spends?|than|of) [$€£]$", re.I)
_SIGN = re.compile(r"\b(?:symbols?|signs?|currenc\w+|characters?|keys?)\b", re.I)
_LAST_ITEM = re.compile(r"(?:^|\n)[ \t]*(\d{1,3})[.)] ")


def _no_input_marker(record: Record) -> Verdict | None:
    marked = _NO_INPUT.fullmatch(record.input) or _NOT_APPLICABLE.fullmatch(record.input)
    if _ABOUT_WORDS.search(record.instruction):
        return None
    return wrong(f"input: {record.input!r}") if record.input.strip() and marked else None


def _placeholder_output(record: Record) -> Verdict | None:
    """Find what stands for an answer; "None" is one to a question, and a sign where signs are asked for."""
    output = record.output.strip()
    named = re.search(r"\b(?:none|null|nil|n/a|tbd|todo|placeholder)\b", record.instruction, re.I)
    signs = not re.search(r"\w", output) and re.search(
        r"symbol|operator|punctuation|character|signs?\b|marks?\b|emoji|morse|code|braille", record.instruction, re.I
    )
    wants_text = _WANTS_TEXT.search(record.instruction) and not _ABOUT_A_WORD.search(record.instruction)
    answers = _WORD_OR_NONE.fullmatch(output) and not wants_text
    found = output and _NO_OUTPUT.fullmatch(output) and not named and not signs and not answers
    return wrong(f"output: {output!r}") if found else None


def _empty_instruction(record: Record) -> Verdict | None:
    return None if visible(record.instruction) else wrong("instruction: nothing that can be seen")


def _empty_output(record: Record) -> Verdict | None:
    return None if record.output.strip() else wrong("output: nothing but blanks" if record.output else "output: ''")


def _merged_record(record: Record) -> Verdict | None:
    found = _MERGED.search(record.output)
    return wrong(f"output: {found.group().strip()[:40]!r} at character {found.start()}") if found else None


def _residual_marker(record: Record) -> Verdict | None:
    texts = {"instruction": record.instruction, "input": "" if _no_input_marker(record) else record.input}
    for field, text in texts.items():
        if found := _MARKER.search(text):
            return wrong(f"{field}: {found.group().strip()!r}")
    return None


def _cut_by_stop(record: Record) -> Verdict | None:
    """Find years and prices cut at "20.", and lists cut before item 20; a task that names the number may mean it."""
    output = record.output.rstrip()
    task = f"{record.instruction} {record.input}"
    numbers = [int(number) for number in _LAST_ITEM.findall(output)]
    year = _CUT_YEAR.search(output) and not re.search(r"\b20\b", task)
    if year or (_CUT_MONEY.search(output) and not _SIGN.search(f"{task} {output}")):
        return wrong(f"output ends with {output[-20:]!r}")
    if numbers and numbers[-1] == 19 and len(numbers) >= 19 and not re.search(r"\b(?:19|nineteen)\b", task, re.I):
        return wrong("output: a list that ends with number 19")
    return None


LEFTOVERS = (
    Rule(
        name="empty_instruction",
        severity="error",
        about="asks nothing",
        fix="Write the instruction, or delete the record.",
        check=_empty_instruction,
        fixture=Record("\u200b", "", "Red."),
    ),
    Rule(
        name="empty_output",
        severity="error",
        about="has no answer",
        fix="Write the answer, or delete the record.",
        check=_empty_output,
        fixture=Record("Name a colour.", "", " "),
    ),
    Rule(
        name="placeholder_output",
        severity="error",
        about="has a placeholder for an answer",
        fix="Write the answer, or delete the record.",
        check=_placeholder_output,
        fixture=Record("Name a colour.", "", "<No Output>"),
    ),
    Rule(
        name="no_input_marker",
        severity="warning",
        about="says in words that it has no input",
        fix="Leave the input empty; the prompt without input is made for that.",
        check=_no_input_marker,
        repair=lambda record: replace(record, input=""),
        fixture=Record("Name a colour.", "<noinput>", "Red."),
    ),
    Rule(
        name="merged_record",
        severity="error",
        about="holds another record in its answer",
        fix="Cut the answer before the marker; make a record of what follows.",
        check=_merged_record,
        fixture=Record("Name a colour.", "", "Red.\n###\n5. Instruction: Name a fruit."),
    ),
    Rule(
        name="residual_marker",
        severity="error",
        about="holds a marker of the generator's prompt in its task",
        fix="Delete the marker, and check what belongs to which field.",
        check=_residual_marker,
        fixture=Record("Sort the words.\n4. Input:", "pear, apple", "apple, pear"),
    ),
    Rule(
        name="cut_by_stop",
        severity="error",
        about='has an answer cut at "20.", where Stanford\'s generator stopped',
        fix="Complete the answer, or delete the record.",
        check=_cut_by_stop,
        fixture=Record("When did the pandemic begin?", "", "The pandemic began in 20"),
    ),
)
"""AlpacaDataCleaned's classes 2, 3, 6, 7 and 10, and what follows from the defects of Stanford's generator."""
