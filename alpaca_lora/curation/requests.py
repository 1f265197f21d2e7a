"""Tasks that a text model cannot do as they stand: what it cannot see, cannot make and cannot reach.

These rules read English. They look for plain wordings and leave what is doubtful to a person.
"""

import re

from alpaca_lora.curation.rule import Rule, Verdict, wrong
from alpaca_lora.records import Record

__all__ = ["REQUESTS"]

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"']+", re.I)
_ABOUT_URLS = re.compile(
    r"\b(?:urls?|links?|html|domain|hyperlinks?|regex|parse|encode|decode|valid\w*|extract|code"
    r"|script|function|format|shorten|citation|cite|markdown|curl|wget|ping|commands?|api|endpoint|requests?)\b",
    re.I,
)
_SEEN = (
    r"(?:image|picture|photo|photograph|screenshot|painting|drawing|graphic|diagram|chart|graph|map|video"
    r"|audio|recording|file|pdf|spreadsheet|attachment)s?"
)
_ATTACHED = re.compile(
    rf"\b(?:attached|enclosed|accompanying|uploaded|embedded|linked)(?: \w+)? (?:{_SEEN}|documents?"
    rf"|articles?|texts?|tables?)\b"
    rf"|\b(?:this|these|the (?:following|given|provided|above|below)|given (?:this|the|an?)"
    rf"|following) (?:\w+ )?{_SEEN}(?=\W*(?:\.|,|:|\?|$|and\b|above|below|shows?\b|depicts?\b|provided"
    rf"|to\b))"
    rf"|\b(?:shown|depicted|displayed|pictured|seen|see) (?:in )?(?:the|this) (?:\w+ )?{_SEEN}(?: above| below)?\W*$"
    rf"|\b{_SEEN} (?:below|above|attached)\b",
    re.I | re.M,
)
_MADE_OF_TEXT = re.compile(
    r"\b(?:graph (?:theory|database|algorithm)|(?:write|create|design|develop|implement"
    r"|build)\b.{0,60}\b(?:code|script|function|program|app|html|css|sql|query|api|algorithm|prompt"
    r"|plan|strategy|title|caption|description|alt text|list|story)|description of|describe"
    r"|descriptions?|captions?|script|lyrics|poem|story|idea|names?|titles?|suggest|explain|outline"
    r"|concept|mermaid|ascii|svg|graphviz|latex)\b",
    re.I | re.S,
)
_VISUAL = (
    r"(?:image|picture|photo|photograph|painting|drawing|sketch|illustration|logo|diagram|flow ?chart"
    r"|mind ?map|infographic|poster|animation|gif|video|film|movie clip|graph|chart|plot|map|comic strip"
    r"|collage|audio|recording|podcast recording|voice message|song recording|melody|music)"
)
_MEDIA = re.compile(
    rf"^\W*(?:please )?(?:draw|paint|sketch|photograph|film|sing|hum)\b(?! (?:a |the |any "
    rf"|some )?(?:conclusions?|inferences?|comparisons?|attention|parallels?|distinctions?|analog\w+"
    rf"|plans?\b|outlines?|timelines?|arguments?|strateg\w+|scenes?|stor\w+|schedules?"
    rf"|out\b|from\b|upon\b|on\b|up\b))"
    rf"|^\W*(?:please )?(?:create|make|generate|produce|design|render|record|compose|show|send|play"
    rf"|take|find|plot|edit|crop|upload|download)(?: me)?(?: an?| the| some| this"
    rf"| one)?(?: (?!of\b|about\b|for\b)\w+){{0,3}}? {_VISUAL}(?=\W*$|\W*[.,:;!?\n]"
    rf"|[ ](?:of(?! words)|for|that|which|to|in|on|with|from|about|using|based|where|by|and|or|called|as|at|showing"
    rf"|depicting|illustrating|outlining|explaining|comparing|representing|featuring|announcing|describing)\b)",
    re.I,
)
_DRAWN_IN_TEXT = re.compile(r"\||```|<svg")
_PHYSICAL = re.compile(
    r"^\W*(?:please )?(?:set (?:an?|my|the) (?:reminder|alarm|timer)|remind me\b|turn (?:on|off|up"
    r"|down) (?:the|my)|switch (?:on|off)|call (?:my|the|a|an)\b"
    r"|(?:send|forward) (?:an?|the|this|my) (?:email|e-mail|message|text|sms|letter|invitation"
    r"|package)\b(?! template)|email (?:my|the|this|him|her)\b|text my\b|book (?:me )?(?:an?|the"
    r"|my) (?:flight|hotel|table|ticket|room|appointment|taxi|ride|cab|meeting)|order (?:me )?(?:an?"
    r"|some|the) (?:pizza|taxi|meal|food|coffee|drink|book|groceries)\b"
    r"|(?:open|close|lock|unlock) (?:the|my|a) (?:door|window|browser|app|file|curtains?|garage"
    r"|application|website|blinds|page|tab|new tab)\b|play (?:the |a |some |my )?(?:song|music|video"
    r"|playlist|movie|game of)\b|click (?:on )?the\b|press the\b|(?:go|navigate|log ?in"
    r"|sign in) to (?:the |my |a )?(?:website|site|page|account|store|kitchen|webpage|shop|url|gym)\b"
    r"|(?:print|scan|upload|download|install|save) (?:the|this|my|a|an) (?:document|file|photo"
    r"|picture|app|application|program|software|page|attachment|game|driver)\b|take (?:a"
    r"|the) (?:photo|picture|selfie|screenshot|walk|bath)\b|(?:clean|vacuum|wash|cook|bake|water|feed"
    r"|walk|pour|fetch|bring me|pick up|paint|dust|sweep|mow) (?:the|my|me|a|an) (?:\w+ )?(?:room"
    r"|house|car|dog|cat|dishes|plants?|garden|floor|dinner|lunch|breakfast|cake|coffee|tea|water"
    r"|glass|clothes|laundry|wall|lawn|kids?|fence|kitchen|bathroom|fish|bed)\b)",
    re.I,
)
_HOW = re.compile(
    r"\b(?:recipe|instructions?|steps?|how|describe|explain|template|draft|write|code|script|function|command)\b", re.I
)
_REFERS = re.compile(
    r"\b(?:the|this|these|those|from|in) (?:following|given|provided|below|supplied)\b(?! (?:steps"
    r"|reasons|requirements|rules|order|criteria|conditions?|constraints|format|manner|way|year"
    r"|example)\b)"
    r"|\b(?:given|provided|following) (?:below |above )?(?:text|sentences?|paragraph|passage|article"
    r"|list|words?|data|numbers?|code|story|poem|dialogue|conversation|email|table|phrase|statement"
    r"|information|input|essay|review|tweet)\b"
    r"|\b(?:text|sentences?|paragraph|passage|article|list|code|story|information|data|table|review|email"
    r"|message|conversation|poem) (?:given |provided |written )?(?:below|above)\b|\binformation (?:provided|given)\b"
    r"|\b(?:in|of|from) this (?:text|sentence|paragraph|passage|article|list|story|poem|email|review)\b"
    r"|^\W*(?:summari[sz]e|translate|rewrite|rephrase|paraphrase|classify|edit|correct|proofread"
    r"|analy[sz]e|shorten|simplify) (?:this|these|the) (?:text|sentences?|paragraph|passage|article"
    r"|list|words?|code|story|poem|email|phrase|statement|essay|review|tweet|conversation)\b(?! (?:of"
    r"|about|from|by|in|on|with|to|into|for|that|between|behind|called|titled)\b| ?[\"“'‘])",
    re.I,
)
_CARRIES = re.compile(
    r":\s*\S|\n[^\S\n]*\S|\s[-–—]\s\S|[.?!]\s+[A-Z\d]\w*\s+\w+|[\"“”'‘`(\[{][^\"“”'‘`)\]}]{3,500}[\"“”'’`)\]}]"
    r"|\d\s*,\s*\d|\w, \w+,? (?:and|or) \w|\b(?:that|which|about|of how|where) \w+ \w+ \w+",
    re.I,
)
_CODING = (
    r"^\W*(?:please )?(?:write|create|generate|implement|develop|code|construct|build|give|provide|design)\b(?: me)?"
)
_WANTS_CODE = re.compile(
    rf"{_CODING}(?: (?!of\b|about\b|on\b|what\b|how\b|why\b|between\b|with\b)[^\s.]+){{0,8}}?"
    r" (?:(?:python|java|javascript|c\+\+|c#|sql|bash|shell|html|css"
    r"|php|ruby|go|rust|r|swift|typescript|kotlin) (?:code|program|script|function|method|class|query"
    r"|statement|snippet|command|page)|(?:sql|html|css|regex|regular expression)\b(?!(?: \w+)? (?:tutorial"
    r"|book|course))|(?:for|while) loop\b|code snippet|piece of code|(?:a|the) function (?:that|to|which)\b"
    r"|(?:a|the) (?:program|script) (?:that|to|which) (?:prints?|calculates?|computes?|sorts?|counts?|converts?"
    r"|parses?|multiply|multiplies|checks? (?:if|whether))\b)",
    re.I,
)
_CODED = re.compile(rf"{_CODING}.{{0,60}}?\b(?:function|algorithm|program|script|method|query|class)\b", re.I)
"""Tasks in which "the given list" is what the code will be given."""

_CODE = re.compile(
    r"```|^[^\S\n]*(?:def|class|import|from|for|while|if|return|public|private|static|function|var|let"
    r"|const|int|void|print|#include|SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|WITH|package|using|echo"
    r"|#!|@\w+)\b|[{};]\s*$|<\/?[a-z][^>]{0,500}>|\w\([^)]{0,500}\)|\w ?[-+*/]?= ?\S"
    r"|\b(?:SELECT|select)\b.{1,500}\b(?:FROM|from)\b|[\[(\\].{0,500}[\])][+*?$]|\blambda\b|=>"
    r"|\[[^\]]{0,500}\][+*?{]|\\[dwsb]",
    re.M,
)
"""What is looked for across a line or brackets is bounded, and words are entered at their last letter, or a page of one
letter would take minutes."""

_MOST_INSTRUCTION_WORDS = 150
_LONGEST_REQUEST = 40
"""Words of an instruction beyond which "this picture" may be told of in the instruction itself."""


def _web_reference(record: Record) -> Verdict | None:
    if _ABOUT_URLS.search(re.sub(_URL, "", record.instruction)):
        return None
    if found := _URL.search(record.instruction) or _URL.fullmatch(record.input.strip()):
        return wrong(f"{found.group()!r} cannot be opened")
    return None


def _unseen_attachment(record: Record) -> Verdict | None:
    found = _ATTACHED.search(record.instruction)
    if found is None or len(record.instruction.split()) > _LONGEST_REQUEST:
        return None
    named_only = re.fullmatch(
        r"\W*\S*\.(?:jpe?g|png|gif|bmp|svg|pdf|mp[34]|wav|csv|xlsx?)\W*", record.input.strip(), re.I
    )
    shown = record.input.strip() and not named_only and not _URL.fullmatch(record.input.strip())
    return (
        None
        if shown or _CARRIES.search(record.instruction[found.end() :])
        else wrong(f"instruction: {found.group().strip()!r}")
    )


def _missing_input(record: Record) -> Verdict | None:
    found = None if record.input.strip() or _ATTACHED.search(record.instruction) else _REFERS.search(record.instruction)
    if (
        found is None
        or ("given" in found.group().lower() and _CODED.search(record.instruction[: found.start()]))
        or _CARRIES.search(record.instruction[found.end() :])
        or _CARRIES.search(record.instruction[: found.start()])
    ):
        return None
    return wrong(f"instruction: {found.group().strip()!r}, and there is no input")


def _needs_media(record: Record) -> Verdict | None:
    found = _MEDIA.search(record.instruction)
    written = _MADE_OF_TEXT.search(record.instruction) or _DRAWN_IN_TEXT.search(record.output)
    return wrong(f"instruction: {found.group().strip()!r}") if found and not written else None


def _physical_action(record: Record) -> Verdict | None:
    found = _PHYSICAL.search(record.instruction)
    return wrong(f"instruction: {found.group().strip()!r}") if found and not _HOW.search(record.instruction) else None


def _missing_code(record: Record) -> Verdict | None:
    found = _WANTS_CODE.search(record.instruction)
    return (
        wrong(f"instruction: {found.group().strip()!r}; no code in the output")
        if found and record.output.strip() and not _CODE.search(record.output)
        else None
    )


def _long_instruction(record: Record) -> Verdict | None:
    number = len(record.instruction.split())
    return wrong(f"instruction: {number} words", number)


REQUESTS = (
    Rule(
        name="web_reference",
        severity="error",
        about="needs a page of the web to be read",
        fix="Put the text of the page into the input.",
        check=_web_reference,
        fixture=Record("Summarise https://example.org/news.", "", "It is about news."),
    ),
    Rule(
        name="unseen_attachment",
        severity="error",
        about="speaks of a picture, file or recording that is not there",
        fix="Describe in the input what is to be seen or heard, or delete the record.",
        check=_unseen_attachment,
        fixture=Record("Describe the attached picture.", "", "A dog runs on a beach."),
    ),
    Rule(
        name="missing_input",
        severity="error",
        about="speaks of a text that is not there",
        fix="Write the text into the input.",
        check=_missing_input,
        fixture=Record("Summarise the following article.", "", "It is about trade."),
    ),
    Rule(
        name="needs_media",
        severity="error",
        about="asks for a picture, a sound or a film",
        fix="Ask for a description of it, or delete the record.",
        check=_needs_media,
        fixture=Record("Draw a cat.", "", "Here is a cat."),
    ),
    Rule(
        name="physical_action",
        severity="error",
        about="asks for something to be done in the world",
        fix="Ask how it is done, or delete the record.",
        check=_physical_action,
        fixture=Record("Turn on the lights.", "", "The lights are on."),
    ),
    Rule(
        name="missing_code",
        severity="error",
        about="asks for code and gets none",
        fix="Write the code.",
        check=_missing_code,
        fixture=Record("Write a Python function that adds two numbers.", "", "Such a function adds two numbers."),
    ),
    Rule(
        name="long_instruction",
        severity="warning",
        about=f"has an instruction of more than {_MOST_INSTRUCTION_WORDS} words",
        fix="Move the material into the input.",
        check=_long_instruction,
        threshold=_MOST_INSTRUCTION_WORDS,
        floor=50,
        fixture=Record("word " * 151, "", "Done."),
    ),
)
"""AlpacaDataCleaned's classes 1, 4, 5 and 9 as far as words show them."""
