import asyncio
import json
from dataclasses import replace

import pytest

from alpaca_lora import LocalTeacher, SelfInstructConfig, generate_instructions
from alpaca_lora.teachers import Fault, Request

ASKED = Request(key="tasks/0", prompt="Name the capital of France", max_tokens=12, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def teacher(tiny_base):
    return LocalTeacher(str(tiny_base), most_tokens=40, device="cpu")


def ask(teacher, request):
    return asyncio.run(teacher.answer(request))


def test_equal_seeds_give_equal_answers_in_any_order(teacher):
    other = replace(ASKED, seed=4)
    first = [ask(teacher, ASKED), ask(teacher, other)]
    assert [ask(teacher, other), ask(teacher, ASKED)] == first[::-1]
    assert first[0] != first[1]


def test_usage_is_exact_and_the_prompt_is_never_longer_than_was_said(teacher):
    answer = ask(teacher, ASKED)
    assert answer.usage.prompt_tokens == teacher.most_prompt_tokens(ASKED) > 0
    assert answer.usage.completion_tokens <= 12


def test_an_answer_ends_at_a_stop_text(teacher):
    whole = ask(teacher, ASKED).text
    cut = ask(teacher, replace(ASKED, stop=("never there", whole[3:5])))
    assert (cut.text, cut.finish) == (whole[: whole.index(whole[3:5])], "stop")


def test_a_prompt_that_fills_the_model_is_unfit(teacher):
    with pytest.raises(Fault, match="leaves no room") as caught:
        ask(teacher, replace(ASKED, prompt="word " * 2000))
    assert caught.value.kind == "unfit"


def test_a_cancelled_answer_ends_at_its_next_token(teacher):
    written = []

    async def cancel_after(tokens):
        task = asyncio.create_task(teacher.answer(replace(ASKED, max_tokens=40)))
        while len(written) < tokens:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ask(teacher, ASKED)
    hook = teacher._loaded.register_forward_hook(lambda *_: written.append(1))
    try:
        asyncio.run(cancel_after(3))
        assert 3 <= len(written) < 40
        written.clear()
        ask(teacher, replace(ASKED, max_tokens=40))
        assert len(written) == 40
    finally:
        hook.remove()


def test_a_choice_that_looks_like_a_control_token_is_text(teacher):
    alike = ("<|endoftext|>", "<|pad|>")
    with pytest.raises(Fault, match="begin with the same token"):
        ask(teacher, replace(ASKED, choices=alike))
    shares = json.loads(ask(teacher, replace(ASKED, choices=("A", "<|pad|>"))).text)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_run_is_free_needs_no_budget_and_says_that_there_is_nothing_to_keep(teacher, tmp_path):
    config = SelfInstructConfig(num=1, patience=2, profile="stanford-2023", requirements=str(tmp_path / "r.txt"))
    (tmp_path / "r.txt").write_text("Tasks:\n")
    result = generate_instructions(teacher, tmp_path / "run", config=config, progress=False)
    assert result.summary.settled.usd == 0
    assert result.summary.models == {"tasks": teacher.model}
    assert result.status in ("dry", "completed")
