import json

import pytest

from alpaca_lora.records import Record


def sharegpt(*turns):
    return json.dumps({"conversations": [{"from": role, "value": text} for role, text in turns]})


def messages(*turns):
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})


@pytest.mark.parametrize(
    ("column", "content"),
    [
        ("conversations", sharegpt(("human", "a"), ("gpt", "b"))),
        ("conversations", messages(("user", "a"), ("assistant", "b")).replace("messages", "conversations")),
        ("messages", messages(("user", "a"), ("assistant", "b"))),
        ("messages", messages(("system", ""), ("user", "a"), ("assistant", "b"))),
    ],
)
def test_a_single_exchange_is_a_record_and_that_is_announced(read, column, content):
    loaded = read("d.jsonl", content)
    assert loaded.records == (Record("a", "", "b"),)
    assert loaded.notes == (f"d.jsonl: read '{column}': each question with its answer became a record",)


def test_a_system_message_is_left_out_and_counted(read):
    loaded = read("d.jsonl", messages(("system", "Be kind."), ("user", "a"), ("assistant", "b")))
    assert loaded.records == (Record("a", "", "b"),)
    assert loaded.notes[1] == "d.jsonl: left out the system message of 1 rows; a record has no place for it"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            sharegpt(("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")),
            'field "conversations" has 4 turns (user, assistant, user, assistant); '
            "only one user turn and its assistant turn make a record: split it or delete it",
        ),
        (
            messages(("assistant", "b"), ("user", "a")),
            'field "messages" has 2 turns (assistant, user); '
            "only one user turn and its assistant turn make a record: split it or delete it",
        ),
        (
            messages(("user", "a"), ("tool", "b")),
            'field "messages" has 2 turns (user, tool); '
            "only one user turn and its assistant turn make a record: split it or delete it",
        ),
        (
            messages(*[("user", "a"), ("assistant", "b")] * 4),
            'field "messages" has 8 turns (user, assistant, user, assistant, user, assistant, …); '
            "only one user turn and its assistant turn make a record: split it or delete it",
        ),
        (
            messages(),
            'field "messages" must be a list of turns (found an empty list); correct or delete the row',
        ),
        (
            '{"messages": "a"}',
            "field \"messages\" must be a list of turns (found text 'a'); correct or delete the row",
        ),
        (
            messages(("user", "a"), ("assistant", None)),
            'field "output" is null; write the text, or delete the row',
        ),
        (
            messages(("user", [{"type": "image"}]), ("assistant", "b")),
            'field "instruction" must be text (found list of 1); quote it, or store it as text',
        ),
    ],
)
def test_another_conversation_is_a_fault_at_its_line(faults, content, fault):
    rows = sharegpt if "conversations" in content else messages
    good = rows(("user", "a"), ("assistant", "b"))
    assert faults("d.jsonl", f"{good}\n{content}\n") == [f"d.jsonl:2: {fault}"]


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_row_without_its_conversation_is_a_fault(faults, column):
    good = messages(("user", "a"), ("assistant", "b")).replace("messages", column)
    assert faults("d.jsonl", f'{good}\n{good}\n{{"id": 1}}\n') == [
        f'd.jsonl:3: field "{column}" must be a list of turns (found nothing); correct or delete the row'
    ]


def test_every_instance_of_a_seed_task_is_a_record_of_its_line(read):
    task = {
        "id": "seed_task_0",
        "instruction": "a",
        "instances": [{"input": "", "output": "b"}, {"input": "x", "output": "c"}],
        "is_classification": False,
    }
    loaded = read("d.jsonl", f"{json.dumps(task)}\n{json.dumps(task | {'instruction': 'd'})}\n")
    expected = [Record("a", "", "b"), Record("a", "x", "c"), Record("d", "", "b"), Record("d", "x", "c")]
    assert loaded.records == tuple(expected)
    assert [record.origin for record in loaded.records] == ["d.jsonl:1", "d.jsonl:1", "d.jsonl:2", "d.jsonl:2"]
    assert loaded.notes == (
        "d.jsonl: read 'instances': each question with its answer became a record",
        "d.jsonl: columns that are not read: 'id', 'is_classification'",
    )


def test_a_seed_task_that_lacks_a_field_is_a_fault(faults):
    good = json.dumps({"instruction": "a", "instances": [{"input": "", "output": "b"}]})
    content = f'{good}\n{good}\n{{"instances": [{{"output": "b"}}]}}\n{{"instruction": "a"}}\n'
    assert faults("d.jsonl", content) == [
        "d.jsonl:3: field \"instruction\" is missing; the row has 'output'; add it, or name it in column_map (--map)",
        'd.jsonl:4: field "instances" must be a list of instances with input and output (found nothing); '
        "correct or delete the row",
    ]


@pytest.mark.parametrize(
    ("instances", "fault"),
    [
        (
            [{"input": "x"}],
            "field \"output\" is missing; the row has 'instruction', 'input'; add it, or name it in column_map (--map)",
        ),
        (
            [],
            'field "instances" must be a list of instances with input and output (found an empty list); '
            "correct or delete the row",
        ),
        (
            ["b"],
            'field "instances" must be a list of instances with input and output (found list of 1); '
            "correct or delete the row",
        ),
    ],
)
def test_a_seed_task_without_its_instances_is_a_fault(faults, instances, fault):
    good = {"instruction": "a", "instances": [{"input": "", "output": "b"}]}
    content = f"{json.dumps(good)}\n{json.dumps(good | {'instances': instances})}\n"
    assert faults("d.jsonl", content) == [f"d.jsonl:2: {fault}"]
