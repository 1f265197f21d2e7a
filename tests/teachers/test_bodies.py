import json

import pytest

from alpaca_lora.teachers.bodies import read_answer
from alpaca_lora.teachers.protocol import Fault, Usage


@pytest.mark.parametrize(
    "choice", [{"message": []}, {"message": "x"}, {"message": None}, {"text": {}}, [], "message", None]
)
def test_a_choice_of_another_form_is_garbage(choice):
    with pytest.raises(Fault, match="the answer is no completion"):
        read_answer(json.dumps({"choices": [choice]}).encode(), {}, redact=str)


@pytest.mark.catalogue(123)
@pytest.mark.parametrize(
    ("total", "completion_tokens"),
    [(30, 20), (130, 120), (29, 20), (-1, 20), (None, 20), ("130", 20), (130.0, 20), (True, 20)],
)
def test_tokens_that_only_the_sum_counts_are_those_of_an_answer(total, completion_tokens):
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": total}
    body = json.dumps({"choices": [{"text": "Blue."}], "usage": usage}).encode()
    assert read_answer(body, {}, redact=str).usage == Usage(10, completion_tokens)
