"""Nested rows to flat ones: the seed tasks of Self-Instruct, ShareGPT conversations and chat messages.

A record is one instruction with one answer, so a conversation of more than one exchange is a fault and never cut.
"""

from collections.abc import Mapping

from alpaca_lora.records.fields import describe
from alpaca_lora.records.findings import Findings
from alpaca_lora.records.record import Row

__all__ = ["unfold_conversation", "unfold_instances"]

_ROLES = {
    "user": ("human", "user"),
    "assistant": ("assistant", "gpt"),
    "system": ("system",),
}


def unfold_instances(row: Row, column: str, findings: Findings) -> list[Row]:
    """Return one row for each input and output that a seed task lists.

    Source: https://github.com/tatsu-lab/stanford_alpaca/blob/main/seed_tasks.jsonl
    """
    task = {name: row.fields[name] for name in ("instruction",) if name in row.fields}
    return [
        row._replace(fields=task | {name: case[name] for name in ("input", "output") if name in case})
        for case in _objects(row, column, "instances with input and output", findings)
    ]


def unfold_conversation(row: Row, column: str, findings: Findings) -> list[Row]:
    """Return the row that a conversation of one question and one answer is.

    Turns are `{"from", "value"}` (ShareGPT) or `{"role", "content"}` (chat messages). A first system turn is passed on
    as the column `system`, for the caller to count.
    """
    turns = _objects(row, column, "turns", findings)
    if not turns:
        return []
    roles = [_role(turn) for turn in turns]
    texts = [turn.get("value", turn.get("content")) for turn in turns]
    system = texts.pop(0) if roles[0] == "system" else None
    spoken = roles[1:] if roles[0] == "system" else roles
    if spoken != ["user", "assistant"]:
        shown = ", ".join(spoken[:6]) + (", …" if len(spoken) > 6 else "")
        fix = "only one user turn and its assistant turn make a record: split it or delete it"
        findings.fault(row.line, f'field "{column}" has {len(spoken)} turns ({shown}); {fix}')
        return []
    return [row._replace(fields={"instruction": texts[0], "input": "", "output": texts[1], "system": system})]


def _objects(row: Row, column: str, wanted: str, findings: Findings) -> list[Mapping[str, object]]:
    value = row.fields.get(column)
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        return list(value)
    found = "an empty list" if value == [] else "nothing" if value is None else describe(value)
    findings.fault(row.line, f'field "{column}" must be a list of {wanted} (found {found}); correct or delete the row')
    return []


def _role(turn: Mapping[str, object]) -> str:
    name = turn.get("from", turn.get("role"))
    return next((role for role, names in _ROLES.items() if name in names), str(name))
