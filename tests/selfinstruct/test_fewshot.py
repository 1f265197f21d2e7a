import pytest

from alpaca_lora import Record
from alpaca_lora.selfinstruct import SeedTask, load_seeds
from alpaca_lora.selfinstruct.fewshot import TaskWriter
from alpaca_lora.selfinstruct.profiles import MODERN, STANFORD

THREE = [
    SeedTask(Record("Name  a\nbird:", "", "A wren.")),
    SeedTask(Record("Add the numbers.", "2 and 3", "5")),
    SeedTask(Record("Sort the word: a or b?", "b", "b"), classification=True),
]


def test_the_published_layout_is_reproduced_to_the_byte():
    request = TaskWriter(STANFORD, THREE, seed=0).asked(0).request
    order = [request.prompt.index(text) for text in ("Name a bird", "Add the numbers", "Sort the word")]
    shown = dict(zip(sorted(order), (1, 2, 3), strict=True))
    bird = shown[order[0]]
    head = STANFORD.requirements + "\n###\n"
    assert request.prompt.startswith(head)
    assert (
        f"###\n{bird}. Instruction: Name a bird\n{bird}. Input:\n<noinput>\n{bird}. Output:\nA wren.\n"
        in request.prompt
    )
    assert request.opening == "###\n4. Instruction:"
    assert (request.max_tokens, request.temperature, request.top_p) == (3072, 1.0, 1.0)
    assert request.stop == ("\n20", "20.")
    assert request.schema is None


@pytest.mark.parametrize("profile", [MODERN, STANFORD])
def test_a_request_depends_on_seed_and_number_alone(profile):
    seeds = load_seeds().tasks
    alone = TaskWriter(profile, seeds, seed=3).asked(500)
    writer = TaskWriter(profile, seeds, seed=3)
    assert [writer.asked(number) for number in range(490, 501)][-1] == alone
    assert TaskWriter(profile, seeds, seed=4).asked(500).request.prompt != alone.request.prompt
    assert writer.asked(501).request.prompt != alone.request.prompt


def test_the_draw_is_the_same_on_every_machine():
    asked = TaskWriter(MODERN, load_seeds().tasks, seed=42).asked(0)
    assert asked.request.seed == 1_949_701_853
    assert asked.request.key == "tasks/0"


def test_classification_tasks_are_asked_for_as_often_as_they_are_among_the_seeds_and_with_the_output_first():
    writer = TaskWriter(MODERN, load_seeds().tasks, seed=0)
    asked = [writer.asked(number) for number in range(400)]
    labelled = [one for one in asked if one.classification]
    assert 0.10 < len(labelled) / len(asked) < 0.20  # 26 of 175 are 0.149
    request = labelled[0].request
    assert request.prompt.index('"output":') < request.prompt.index('"input":')
    assert list(request.schema["properties"]["tasks"]["items"]["properties"]) == ["instruction", "output", "input"]
    assert not any(TaskWriter(STANFORD, load_seeds().tasks, seed=0).asked(n).classification for n in range(50))


def test_a_field_and_its_topics_are_asked_for():
    writer = TaskWriter(MODERN, THREE, seed=0, domain="beekeeping", topics=("swarms", "honey"))
    asked = [writer.asked(number) for number in range(40)]
    assert {one.topic for one in asked} == {"swarms", "honey"}
    assert "All tasks belong to this field: beekeeping\n" in asked[0].request.prompt
    assert f"This time they are about: {asked[0].topic}\n" in asked[0].request.prompt


def test_a_model_without_chat_gets_a_beginning():
    assert TaskWriter(MODERN, THREE, seed=0, chat=False).asked(0).request.opening == '{"instruction": "'
    assert TaskWriter(MODERN, THREE, seed=0).asked(0).request.opening == ""


def test_the_smaller_request_has_one_example_and_half_the_room():
    asked = TaskWriter(STANFORD, THREE, seed=0).asked(0)
    assert asked.smaller.max_tokens == 1536
    assert asked.smaller.prompt.count(". Instruction: ") == 1
    assert asked.smaller.key == asked.request.key
    alone = TaskWriter(MODERN, THREE, seed=0, chat=False).asked(0).smaller
    assert "One task, and then 8 new ones" in alone.prompt


def test_the_tasks_of_the_smaller_request_are_numbered_as_those_of_the_larger():
    asked = TaskWriter(STANFORD, THREE, seed=0).asked(0)
    assert "###\n3. Instruction: " in asked.smaller.prompt
    assert asked.smaller.opening == asked.request.opening == f"###\n{asked.first}. Instruction:"
