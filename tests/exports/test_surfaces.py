import pytest
from tokenizers.processors import TemplateProcessing

from alpaca_lora.exports.surfaces import PROBE_RECORDS, Surface, chat_surface, compare_surface
from alpaca_lora.models import encode_prompt, load_tokenizer
from alpaca_lora.prompts import Prompter, available_templates

PROMPTER = Prompter()


@pytest.fixture
def tokenizer(tiny_base):
    """The tiny tokenizer with a beginning-of-text token that it puts before every text."""
    tokenizer = load_tokenizer(tiny_base)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    single = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = single
    return tokenizer


def surface(render, **options):
    return Surface("place", options.pop("sha256", None), render, **options)


def test_the_prompt_of_training_has_its_first_token_once(tokenizer):
    ids = encode_prompt(tokenizer, PROMPTER.prompt(PROBE_RECORDS[0]))
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("template", available_templates())
@pytest.mark.parametrize("bos", [True, False])
def test_a_chat_template_of_ours_is_right_for_every_probe(tokenizer, tiny_base, template, bos):
    prompter, plain = Prompter(template), tokenizer if bos else load_tokenizer(tiny_base)
    plain.chat_template = prompter.chat_template(bos=bos)
    (chat,) = chat_surface("chat template", plain)
    assert compare_surface(chat, prompter, plain) is None


def test_a_first_token_twice_or_not_at_all_is_said_so(tokenizer):
    def right(record):
        return encode_prompt(tokenizer, PROMPTER.prompt(record))

    twice = surface(lambda record: [tokenizer.bos_token_id, *right(record)])
    never = surface(lambda record: right(record)[1:])
    assert compare_surface(surface(right), PROMPTER, tokenizer) is None
    assert "puts the beginning-of-text token twice" in compare_surface(twice, PROMPTER, tokenizer)
    assert "puts no beginning-of-text token" in compare_surface(never, PROMPTER, tokenizer)


def test_a_chat_template_that_forgets_the_first_token_is_caught(tokenizer):
    tokenizer.chat_template = PROMPTER.chat_template(bos=False)
    (chat,) = chat_surface("chat template", tokenizer)
    assert "puts no beginning-of-text token" in compare_surface(chat, PROMPTER, tokenizer)


def test_one_lost_byte_is_caught_by_its_place(tokenizer):
    lost = surface(lambda record: encode_prompt(tokenizer, PROMPTER.prompt(record)[:-1]))
    trained = encode_prompt(tokenizer, PROMPTER.prompt(PROBE_RECORDS[0]))
    expected = f"gives token [] in place {len(trained) - 1} where training had [{trained[-1]}],"
    assert expected in compare_surface(lost, PROMPTER, tokenizer)


def test_a_place_that_states_another_template_is_caught_by_the_digest(tokenizer):
    right = surface(lambda record: encode_prompt(tokenizer, PROMPTER.prompt(record)), sha256="0" * 64)
    assert (
        compare_surface(right, PROMPTER, tokenizer)
        == f"states template 000000000000, trained was {PROMPTER.sha256[:12]}"
    )


def test_a_place_without_an_input_is_asked_without_one(tokenizer):
    seen = []

    def render(record):
        seen.append(record)
        return encode_prompt(tokenizer, PROMPTER.prompt(record))

    assert compare_surface(surface(render, takes_input=False), PROMPTER, tokenizer) is None
    assert seen == [record for record in PROBE_RECORDS if not record.input]


def test_a_tokenizer_without_a_chat_template_offers_none(tiny_base):
    assert chat_surface("chat template", load_tokenizer(tiny_base)) == []


@pytest.mark.parametrize(
    "template",
    [
        "{% if",
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception('no') }}",
        "{{ a.b.c }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_chat_template_that_ends_in_an_error_is_a_finding(tokenizer, template):
    tokenizer.chat_template = template
    (chat,) = chat_surface("chat template", tokenizer)
    assert "cannot be rendered (" in compare_surface(chat, PROMPTER, tokenizer)
