import json

import pytest

from alpaca_lora.teachers.bodies import read_answer
from alpaca_lora.teachers.protocol import Fault


@pytest.mark.parametrize(
    "choice", [{"message": []}, {"message": "x"}, {"message": None}, {"text": {}}, [], "message", None]
)
def test_a_choice_of_another_form_is_garbage(choice):
    with pytest.raises(Fault, match="the answer is no completion"):
        read_answer(json.dumps({"choices": [choice]}).encode(), {}, redact=str)
