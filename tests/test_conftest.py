import os
import socket

import pytest

from tests.shares import in_shares


def test_this_process_is_offline_for_the_hub():
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("connect", ["connect", "connect_ex"])
def test_a_connection_to_another_machine_fails_the_test(connect):
    with socket.socket() as stream, pytest.raises(pytest.fail.Exception, match=r"connect to '192\.0\.2\.1'"):
        getattr(stream, connect)(("192.0.2.1", 80))


def test_a_connection_within_this_machine_works():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_the_tiny_base_model_loads_and_reads_back_any_text(tiny_base):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    text = "Käse → 奶酪\r\n\t<s> ### Response:\n"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)


def test_each_process_begins_with_its_share_of_the_slow_tests_and_files_stay_whole():
    tests = ["a1", "A1", "A2", "A3", "b1", "b2", "B1", "c1", "c2", "C1", "C2", "D1", "d1", "d2"]
    order = in_shares(tests, 2, is_slow=str.isupper, file_of=lambda test: test[0])
    assert order == ["B1", "C1", "C2", "a1", "b1", "b2", "c1", "D1", "A1", "A2", "A3", "c2", "d1", "d2"]
    assert in_shares(tests[1:4], 2, is_slow=str.isupper, file_of=lambda test: test[0]) == ["A1", "A2", "A3"]
