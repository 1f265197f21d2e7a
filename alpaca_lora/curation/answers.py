"""Answers that are none: an echo, a refusal, a loop, or half of a sentence."""

import re
from collections import Counter
from dataclasses import replace

from alpaca_lora.curation.rule import Rule, Verdict, wrong
from alpaca_lora.records import Record
from alpaca_lora.selfinstruct.tokens import UNSPACED, folded

__all__ = ["ANSWERS"]

_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|language model|large language model)\b"
    r"|\bi(?:'| a)m (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model"
    r"|chatbot|virtual assistant)\b"
    r"|^\W*(?:i(?:'| a)m )?(?:sorry|i apologi[sz]e|unfortunately)[^.]{0,80}\b(?:can(?:no|')t|unable"
    r"|not able|do(?:n't| not) have)\b"
    r"|^\W*i (?:can(?:no|')t(?! (?:believe|wait|stop|help|recommend|imagine|tell|say|thank|stress))"
    r"|am unable to|am not able to|do(?:n't| not) have (?:access|enough|the ability"
    r"|any information))\b"
    r"|\b(?:my training data|my knowledge cutoff|openai)\b.{0,40}\b(?:cannot|do not|until|up to|trained)\b",
    re.I,
)
_PLAYED = re.compile(
    r"\b(?:apolog\w*|excuse|reject\w*|declin\w*|refus\w*|role|respon\w* to|reply|letter|email"
    r"|dialogue|message|sorry|resign\w*|cancel\w*|chatbot|ai\b|artificial|language model|openai|gpt"
    r"|translate|paraphrase|rewrite|story)\b",
    re.I,
)
_DANGLING = re.compile(
    r"(?:[,(\[{–—&]|[^.!?:;\s\d](?<!\bsq)\s(?P<word>and|or|but|the|an?|of|to|in|with|for|from|that|which|because"
    r"|such as|including|by|is|are|was|were|their|its|your|our))$"
)
_STRANDED = re.compile(
    r"\b(?:wh(?:at|ere|o)(?:ever)?|how(?:ever)?(?: \S+)?|as|than|way|all) (?:i|you|he|she|it|we|they|this|that|there"
    r"|(?:the|an?|my|your|his|her|its|our|their|this|that|these|those)(?: \S+){1,2}) (?:is|are|was|were)$"
    r"|\bwhere(?:ver)? \S+ (?:is|are|was|were)$"
    r"|\b(?:about|all|did|do|does|done|like|than) that$"
    r"|\b(?:came|com|log|sign|check|tun|div|mov|giv|join|let|step|break|fit)(?:e|es|s|[gmnpt]?ing)?"
    r"(?: (?:it|them|him|her|me|us))? in$"
    r"|\b(?:get|go|went|pass|stand|stop|drop|fl(?:y|ies))(?:s|es|[pt]?ing)? by$"
    r"|(?<=\w )(?:i|you|he|she|we|they|to) \S+ (?:in|by)$"
    r"|\b(?:i|you|he|she|it|we|they|to|that|what|where)\b(?: \S+){1,3} (?:of|to|with|for|from)$",
    re.I,
)
"""Ends of whole phrases: wherever you are, come in, the world we live in, someone to talk to."""

_ENGLISH = re.compile(
    r"\b(?:the|this|that|it|and|there|they|who|which|have|has|you|we|with|from|can|not|your|their|its|by)\b", re.I
)
_MOST_LINE_WORDS = 15
"""Words of a slogan, a verse or an item, which may end without a full stop."""

_ENDED = re.compile(r"[^\d\W][.!?][\"')]? ")
_SENTENCE = re.compile(r"[^.!?\n]+")
_SIGNS_OF_CODE = re.compile(r"[{}=;<>|]|\w\(|:$")
_FEWEST_REPEATS = 4
_MOST_NAME_WORDS, _MOST_PHRASE_WORDS = 2, 6
"""Words of a name or number, which may be the same in another language, and of a phrase that may be all of its text."""

_PAIR = re.compile(rf"[{UNSPACED}]{{2}}")
"""About one word, where no blanks divide them."""

_HEAD = re.compile(
    r"[ \t]*(?:(?:async |for|while|if|elif|else|def|class|try|except|finally|with|match|case)\b.*:|Dear\b.*)"
)


def _count_words(text: str) -> int:
    """Count words by blanks, and two characters of a script without blanks as one more."""
    return len(text.split()) + len(_PAIR.findall(text))


def _input_equals_output(record: Record) -> Verdict | None:
    """Find an echo; one or two words, or what is checked, picked out or laid out, may stay as they were."""
    given, said = ([folded(line) for line in text.strip().splitlines()] for text in (record.input, record.output))
    picked = re.search(r"\b(?:extract|identify|find|select|quote|simplify|reduce)\b", record.instruction, re.I)
    changed = re.search(r"\b(?:antonyms?|synonyms?|opposite)\b", record.instruction, re.I)
    short = not changed and _count_words(record.output) <= (_MOST_PHRASE_WORDS if picked else _MOST_NAME_WORDS)
    allowed = re.search(
        r"\b(?:correct|edit|proofread|grammar|spell\w*|fix|remove|sort|order|organi[sz]e|arrange|error|mistake"
        r"|copy|repeat|identical|upper|lower|capital|case|without changing|if (?:needed|necessary)|same|reverse"
        r"|backwards?)"
        r"|改正|纠正|修正|更正|修改|校对|错|误|誤|语法|文法|排序|复制|重复|检查|提取|找出",
        record.instruction,
        re.I,
    )
    return (
        wrong(f"both: {record.output.strip()[:60]!r}") if said and given == said and not short and not allowed else None
    )


def _input_in_instruction(record: Record) -> Verdict | None:
    given = folded(record.input)
    return wrong(f"input: {given[:60]!r}") if _count_words(given) >= 4 and given in folded(record.instruction) else None


def _ends_with_colon(record: Record) -> Verdict | None:
    """Find an announcement without what it announces; the head of a block of code and a salutation end so too."""
    output = record.output.rstrip()
    last = output.rpartition("\n")[2]
    open_end = output.endswith((":", "：")) and len(last) > 2 and not output.endswith(" :")
    return wrong(f"output ends with {output[-20:]!r}") if open_end and not _HEAD.fullmatch(output) else None


def _unfinished_output(record: Record) -> Verdict | None:
    output = record.output.rstrip()
    last = output.rpartition("\n")[2]
    closing = output.endswith(",") and last != output and len(last.split()) <= 6  # "Best regards,"
    found = None if closing or len(output.split()) < 4 else _DANGLING.search(output)
    if found is None:
        return None
    whole = found["word"] and (
        not _ENGLISH.search(output[: found.start()])
        or (_STRANDED.search(last) and not _ENDED.search(last) and len(last.split()) <= _MOST_LINE_WORDS)
    )
    return None if whole else wrong(f"output ends with {output[-20:]!r}")


def _refusal(record: Record) -> Verdict | None:
    found = _REFUSAL.search(record.output)
    return wrong(f"output: {found.group().strip()!r}") if found and not _PLAYED.search(record.instruction) else None


def _repetition(record: Record) -> Verdict | None:
    sentences = Counter(
        plain
        for found in _SENTENCE.findall(record.output)
        if len((plain := folded(found)).split()) >= 4 and not _SIGNS_OF_CODE.search(plain)
    )
    most = sentences.most_common(1)
    if (
        most
        and most[0][1] >= _FEWEST_REPEATS
        and not re.search(r"\b(?:repeat|song|lyrics|poem|chant|rap|chorus|times)\b", record.instruction, re.I)
    ):
        return wrong(f"output: {most[0][1]} times {most[0][0][:60]!r}")
    return None


def _instruction_echo(record: Record) -> Verdict | None:
    asked, said = folded(record.instruction).rstrip(".:?!"), folded(record.output).rstrip(".:?!")
    copied = re.search(
        r"\b(?:rewrite|paraphrase|repeat|translate|correct|edit|rephrase|punctuat\w*|grammar|copy"
        r"|change|convert|type|capital)",
        record.instruction,
        re.I,
    )
    long_enough = _count_words(asked) >= 4
    return wrong(f"output: {record.output.strip()[:60]!r}") if long_enough and said == asked and not copied else None


ANSWERS = (
    Rule(
        name="input_equals_output",
        severity="error",
        about="gives its input back as the answer",
        fix="Write the answer, or delete the record.",
        check=_input_equals_output,
        fixture=Record("Translate into French.", "The sea is wide.", "The sea is wide."),
    ),
    Rule(
        name="input_in_instruction",
        severity="warning",
        about="repeats its input in the instruction",
        fix="Leave the input empty, or take the text out of the instruction.",
        check=_input_in_instruction,
        repair=lambda record: replace(record, input=""),
        fixture=Record("Count the words: the sea is wide", "The sea is wide", "4"),
    ),
    Rule(
        name="ends_with_colon",
        severity="error",
        about="ends where something should follow",
        fix="Add what follows the colon, or delete the record.",
        check=_ends_with_colon,
        fixture=Record("Name three colours.", "", "Three colours are:"),
    ),
    Rule(
        name="unfinished_output",
        severity="error",
        about="has an answer that stops within a sentence",
        fix="Complete the answer; check the length limit of whatever wrote it.",
        check=_unfinished_output,
        fixture=Record("Describe the sea.", "", "The sea is wide, deep and"),
    ),
    Rule(
        name="refusal",
        severity="warning",
        about="has an answer in which the generator speaks of itself or refuses",
        fix="Write the answer, or delete the record unless refusing is what it teaches.",
        check=_refusal,
        fixture=Record("Describe your house.", "", "As an AI language model, I do not have a house."),
    ),
    Rule(
        name="repetition",
        severity="error",
        about=f"says a sentence {_FEWEST_REPEATS} times or more",
        fix="Write the answer anew.",
        check=_repetition,
        fixture=Record("Describe the sea.", "", "The sea is very wide. " * 4),
    ),
    Rule(
        name="instruction_echo",
        severity="error",
        about="gives its instruction back as the answer",
        fix="Write the answer, or delete the record.",
        check=_instruction_echo,
        fixture=Record("Describe the sea in winter.", "", "Describe the sea in winter."),
    ),
)
"""What Self-Instruct's instance filters drop, and other answers that teach nothing."""
