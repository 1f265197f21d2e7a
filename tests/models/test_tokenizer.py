import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ModelError
from alpaca_lora.models import (
    check_vocabulary,
    encode_prompt,
    encode_text,
    encode_texts,
    load_tokenizer,
    prefix_ids,
    stop_ids,
)
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import load_records

EOS, PAD = "<|endoftext|>", "<|pad|>"
CONTROL = [EOS, PAD, "<s>"]
TEXTS = st.lists(st.sampled_from(CONTROL) | st.text(max_size=8), max_size=6).map("".join)


@pytest.fixture
def with_bos(write_tokenizer):
    return load_tokenizer(write_tokenizer(adds_bos=True, bos_token="<s>", eos_token=EOS, pad_token=PAD))


@pytest.fixture(scope="module")
def prompts():
    prompter = Prompter()
    return [prompter.prompt(record) for record in load_records("alpaca-mini")]


@pytest.mark.parametrize("text", [EOS, f"a{EOS}b", f"{PAD}{PAD}", f"Stop.\n{EOS}\n### Instruction:"])
def test_a_control_token_in_a_text_stays_text(tokenizer, text):
    ids = encode_text(tokenizer, text)
    assert not {tokenizer.eos_token_id, tokenizer.pad_token_id} & set(ids)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", [EOS, f"a{EOS}b"])
def test_the_plain_tokenizer_would_turn_it_into_the_control_token(tokenizer, text):
    assert tokenizer.eos_token_id in tokenizer(text)["input_ids"]
    encode_text(tokenizer, text)
    assert tokenizer.eos_token_id in tokenizer(text)["input_ids"]


def test_a_control_token_stays_text_whoever_else_asks_meanwhile(tokenizer):
    class Asking(list):
        """Texts that are read while another thread calls the tokenizer."""

        def __iter__(self):
            other.start()
            other.join(0.5)
            return super().__iter__()

    other = threading.Thread(target=prefix_ids, args=(tokenizer,))
    (ids,) = encode_texts(tokenizer, Asking([EOS]))
    other.join()
    assert tokenizer.eos_token_id not in ids


@given(text=TEXTS)
def test_no_text_holds_a_control_id_and_none_is_lost(tokenizer, text):
    ids = encode_text(tokenizer, text)
    assert not set(tokenizer.all_special_ids) & set(ids)
    assert tokenizer.decode(ids) == text


@given(texts=st.lists(TEXTS, max_size=4))
def test_texts_together_are_the_texts_one_by_one(tokenizer, texts):
    assert encode_texts(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


@given(texts=st.lists(TEXTS, max_size=4))
def test_ids_are_those_of_a_call_of_the_tokenizer(tokenizer, texts):
    called = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []
    assert encode_texts(tokenizer, texts) == called


def test_a_tokenizer_that_was_told_to_cut_and_pad_does_neither(tokenizer):
    whole = encode_texts(tokenizer, ["one two three four", "five"])
    tokenizer(["one two three four", "five"], truncation=True, max_length=2, padding="max_length")
    assert encode_texts(tokenizer, ["one two three four", "five"]) == whole


def test_a_tokenizer_with_a_way_of_its_own_is_called(tokenizer):
    class Shouting(type(tokenizer)):
        def _encode_plus(self, text, **options):
            return super()._encode_plus(text=[part.upper() for part in text], **options)

    shouting = Shouting(tokenizer_object=tokenizer.backend_tokenizer, eos_token=EOS)
    assert encode_texts(shouting, ["fox"]) == encode_texts(tokenizer, ["FOX"])


def test_a_prompt_is_what_the_plain_tokenizer_makes_of_ordinary_text(tokenizer, prompts):
    assert len(prompts) >= 100
    for prompt in prompts:
        assert encode_prompt(tokenizer, prompt) == tokenizer(prompt)["input_ids"]


def test_a_prompt_begins_with_the_token_that_the_tokenizer_puts_there(with_bos, prompts):
    assert prefix_ids(with_bos) == [with_bos.bos_token_id]
    for prompt in prompts[:100]:
        ids = encode_prompt(with_bos, prompt)
        assert ids == with_bos(prompt)["input_ids"]
        assert (ids[0], ids.count(with_bos.bos_token_id)) == (with_bos.bos_token_id, 1)


def test_a_text_never_begins_with_it(with_bos):
    assert with_bos.bos_token_id not in encode_text(with_bos, "Name the capital.")
    assert encode_text(with_bos, "") == []


def test_the_beginning_of_text_written_in_a_prompt_stays_text(with_bos):
    ids = encode_prompt(with_bos, "<s>Hello<s>")
    assert ids.count(with_bos.bos_token_id) == 1
    assert with_bos.decode(ids[1:]) == "<s>Hello<s>"


def test_a_tokenizer_that_knows_such_a_token_but_adds_none_gets_none(write_tokenizer):
    tokenizer = load_tokenizer(write_tokenizer(bos_token="<s>", eos_token=EOS, pad_token=PAD))
    assert tokenizer.bos_token_id is not None
    assert prefix_ids(tokenizer) == []
    assert encode_prompt(tokenizer, "Hello") == encode_text(tokenizer, "Hello") == tokenizer("Hello")["input_ids"]


def test_an_empty_list_of_texts_has_no_ids(tokenizer):
    assert encode_texts(tokenizer, []) == []


@pytest.mark.catalogue(84)
def test_a_tokenizer_without_an_end_of_text_is_refused(write_tokenizer):
    with pytest.raises(ModelError) as caught:
        load_tokenizer(write_tokenizer(pad_token=PAD))
    assert "has no end-of-text token, so the model could never learn to stop" in str(caught.value)
    assert 'set "eos_token" in tokenizer_config.json' in str(caught.value)


@pytest.mark.catalogue(83)
def test_a_missing_padding_token_is_the_end_of_text_and_no_new_one(write_tokenizer, tokenizer):
    without = load_tokenizer(write_tokenizer(eos_token=EOS))
    assert without.pad_token_id == without.eos_token_id == tokenizer.eos_token_id
    assert len(without) == len(tokenizer)


def test_a_padding_token_of_its_own_is_kept(tokenizer):
    assert tokenizer.pad_token == PAD


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"added_tokens": [], "model": {"type": "NOPE"}}'),
    ],
)
def test_a_damaged_tokenizer_is_an_error_that_names_the_directory(name, content, base):
    (base / name).write_text(content)
    with pytest.raises(ModelError) as caught:
        load_tokenizer(base)
    assert str(caught.value).startswith(f"{str(base)!r} has no tokenizer that can be read (")


@pytest.mark.parametrize(("content", "said"), [("{", "is not JSON"), ("[]", "must hold an object, found list")])
def test_a_damaged_configuration_of_a_tokenizer_is_an_error_that_names_the_file(content, said, base):
    (base / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelError, match=rf"tokenizer_config\.json' {said}"):
        load_tokenizer(base)


def test_a_directory_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="has no tokenizer that can be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(("configured", "stops"), [(None, (0,)), (0, (0,)), (7, (0, 7)), ([9, 0, 7], (0, 7, 9))])
def test_an_answer_ends_where_tokenizer_or_model_end_it(configured, stops, tokenizer, model):
    assert tokenizer.eos_token_id == 0
    model.generation_config.eos_token_id = configured
    assert stop_ids(tokenizer, model) == stops
    assert stop_ids(tokenizer) == (0,)


@pytest.mark.parametrize(
    ("generation", "config", "stops"),
    [([9, 7], 5, (0, 7, 9)), (7, 5, (0, 7)), (None, [5, 0], (0, 5)), (None, None, (0,))],
)
def test_a_directory_names_the_same_ids_as_the_model_in_it(generation, config, stops, tokenizer, base):
    for name, named in (("generation_config.json", generation), ("config.json", config)):
        document = json.loads((base / name).read_text()) | {"eos_token_id": named}
        (base / name).write_text(json.dumps(document))
    assert stop_ids(tokenizer, base) == stops
    (base / "generation_config.json").unlink()
    named = [] if config is None else [config] if isinstance(config, int) else config
    assert stop_ids(tokenizer, base) == tuple(sorted({0, *named}))


@pytest.mark.parametrize("named", ["</s>", [1, "2"], True, -1, 2.5, {}])
def test_a_directory_that_names_no_ids_is_an_error(named, tokenizer, base):
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": named}))
    with pytest.raises(
        ModelError, match=r"generation_config\.json': eos_token_id must be a token id or a list of them"
    ):
        stop_ids(tokenizer, base)


@pytest.mark.catalogue(86)
def test_a_tokenizer_larger_than_the_model_belongs_to_another(tokenizer, model):
    check_vocabulary(tokenizer, model)
    model.resize_token_embeddings(len(tokenizer) - 1, mean_resizing=False)
    with pytest.raises(ModelError) as caught:
        check_vocabulary(tokenizer, model)
    known = len(tokenizer)
    assert f"knows {known} tokens but the model has {known - 1} embeddings: it belongs" in str(caught.value)


def test_a_model_may_have_embeddings_to_spare(tokenizer, model):
    model.resize_token_embeddings(len(tokenizer) + 8, mean_resizing=False)
    check_vocabulary(tokenizer, model)
