import itertools
import threading
import time

import pytest
import torch

from alpaca_lora.errors import ConfigError
from alpaca_lora.models import (
    Decoding,
    Response,
    encode_prompt,
    generate_responses,
    load_base_model,
    load_tokenizer,
    stream_response,
)

PROMPTS = [
    "Name the capital of France.",
    "Hi",
    "Below is an instruction that describes a task. Write a response.\n\n### Response:\n",
    "Add the numbers 12 and 30.",
    "¿Qué?",
]
SHORT = Decoding(max_new_tokens=6)
DRAWN = Decoding(max_new_tokens=6, temperature=1.5, seed=3)


def only(model, *tokens):
    """Make the model emit no token but these."""
    bias = torch.full((model.config.vocab_size,), -1e6)
    bias[list(tokens)] = 0.0
    model.lm_head.bias = torch.nn.Parameter(bias)


def greedy_ids(model, tokenizer, prompt, count):
    """The reference: the likeliest token again and again, without cache, padding or batch."""
    ids = encode_prompt(tokenizer, prompt)
    start = len(ids)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@pytest.fixture
def passes(model):
    """How many tokens the model was asked for, one entry each."""
    seen = []
    model.register_forward_hook(lambda *_: seen.append(threading.current_thread()))
    return seen


def test_greedy_takes_the_likeliest_token_each_time(model, tokenizer):
    for prompt in PROMPTS:
        ids = greedy_ids(model, tokenizer, prompt, 6)
        assert tokenizer.eos_token_id not in ids
        assert generate_responses(model, tokenizer, [prompt], SHORT) == [
            Response(text=tokenizer.decode(ids, skip_special_tokens=True), tokens=6, stopped=False)
        ]


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_answers_do_not_depend_on_what_shares_their_batch(batch_size, model, tokenizer):
    one_by_one = [generate_responses(model, tokenizer, [prompt], SHORT)[0] for prompt in PROMPTS]
    assert len(set(one_by_one)) == len(PROMPTS)
    assert generate_responses(model, tokenizer, PROMPTS, SHORT, batch_size=batch_size) == one_by_one


def test_answers_come_in_the_order_of_the_prompts(model, tokenizer):
    forwards = generate_responses(model, tokenizer, PROMPTS, SHORT, batch_size=2)
    assert generate_responses(model, tokenizer, PROMPTS[::-1], SHORT, batch_size=2) == forwards[::-1]


def test_no_prompts_have_no_answers(model, tokenizer, passes):
    assert generate_responses(model, tokenizer, []) == []
    assert passes == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_without_prompts_is_refused(batch_size, model, tokenizer):
    with pytest.raises(ConfigError, match=f"batch_size must be at least 1, got {batch_size}"):
        generate_responses(model, tokenizer, ["one"], batch_size=batch_size)


def test_greedy_answers_repeat(model, tokenizer):
    assert generate_responses(model, tokenizer, PROMPTS, SHORT) == generate_responses(model, tokenizer, PROMPTS, SHORT)


def test_a_seed_repeats_its_answers_and_another_seed_gives_others(model, tokenizer):
    answers = [
        generate_responses(model, tokenizer, PROMPTS[:2], Decoding(max_new_tokens=6, temperature=1.5, seed=seed))
        for seed in (3, 3, 4)
    ]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
    assert answers[0] != generate_responses(model, tokenizer, PROMPTS[:2], SHORT)


def test_a_seed_leaves_the_random_numbers_of_the_caller_alone(model, tokenizer):
    state = torch.get_rng_state()
    generate_responses(model, tokenizer, PROMPTS[:2], DRAWN)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_asks_nothing_of_cards_that_the_model_is_not_on(model, tokenizer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert generate_responses(model, tokenizer, PROMPTS[:1], DRAWN)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch notes down seeds for cards that are yet to be found")
def test_a_seed_is_kept_from_cards_that_the_model_is_not_on(model, tokenizer):
    noted = list(torch.cuda._lazy_seed_tracker.get_calls())
    generate_responses(model, tokenizer, PROMPTS[:1], DRAWN)
    assert torch.cuda._lazy_seed_tracker.get_calls() == noted
    with torch.random.fork_rng():
        torch.manual_seed(3)
    assert torch.cuda._lazy_seed_tracker.get_calls() != noted


@pytest.mark.gpu
def test_a_seed_moves_no_other_card(tiny_base, tokenizer):
    if torch.cuda.device_count() < 2:
        pytest.skip("this machine has no two CUDA devices")
    model = load_base_model(tiny_base, precision="fp32", device="cuda:1")
    states = [torch.cuda.get_rng_state(index) for index in range(2)]
    answers = [generate_responses(model, tokenizer, PROMPTS[:2], DRAWN) for _ in range(2)]
    assert answers[0] == answers[1]
    assert all(torch.equal(torch.cuda.get_rng_state(index), state) for index, state in enumerate(states))


def test_without_a_seed_two_draws_differ(model, tokenizer):
    with torch.random.fork_rng():
        drawn = [
            generate_responses(model, tokenizer, PROMPTS[:2], Decoding(max_new_tokens=6, temperature=1.5))
            for _ in range(2)
        ]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("limit", [{"top_k": 1}, {"top_p": 1e-6}])
def test_drawing_among_one_token_is_greedy(limit, model, tokenizer):
    drawn = Decoding(max_new_tokens=6, temperature=1.5, **limit)
    with torch.random.fork_rng():
        assert generate_responses(model, tokenizer, PROMPTS, drawn) == generate_responses(
            model, tokenizer, PROMPTS, SHORT
        )


def test_a_repetition_penalty_brings_in_what_was_not_said_yet(model, tokenizer):
    only(model, 65, 66)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.lm_head.bias.data[[65, 66]] = torch.tensor([1.0, 0.9])
    plain, varied = (
        generate_responses(model, tokenizer, ["Hi"], Decoding(max_new_tokens=3, repetition_penalty=penalty))[0].text
        for penalty in (1.0, 2.0)
    )
    assert plain == tokenizer.decode([65, 65, 65])
    assert varied == tokenizer.decode([65, 66, 65])


def test_as_many_beams_as_tokens_find_the_likeliest_two(model, tokenizer):
    letters = tokenizer.convert_tokens_to_ids(list("abcdefgh"))
    only(model, *letters)
    model.lm_head.weight.data *= 20
    prompt = encode_prompt(tokenizer, PROMPTS[0])
    pairs = [[first, second] for first in letters for second in letters]
    with torch.no_grad():
        scores = model(torch.tensor([prompt + pair for pair in pairs])).logits.log_softmax(-1)
    likelihoods = [
        float(row[len(prompt) - 1, first] + row[len(prompt), second])
        for row, (first, second) in zip(scores, pairs, strict=True)
    ]
    best = pairs[likelihoods.index(max(likelihoods))]
    beams = Decoding(max_new_tokens=2, num_beams=len(letters))
    assert generate_responses(model, tokenizer, PROMPTS[:1], beams)[0].text == tokenizer.decode(best)


def test_an_answer_ends_at_the_end_of_text_and_says_so(model, tokenizer, passes):
    only(model, tokenizer.eos_token_id)
    assert generate_responses(model, tokenizer, PROMPTS, SHORT) == [Response(text="", tokens=1, stopped=True)] * 5
    assert len(passes) == 1


def test_an_answer_that_ends_early_is_cut_there_while_others_go_on(model, tokenizer):
    first, second = (greedy_ids(model, tokenizer, prompt, 6) for prompt in PROMPTS[:2])
    stop = next(token for token in first[2:] if token not in second)
    end = first.index(stop)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, stop]
    assert generate_responses(model, tokenizer, PROMPTS[:2], SHORT) == [
        Response(text=tokenizer.decode(first[:end]), tokens=end + 1, stopped=True),
        Response(text=tokenizer.decode(second), tokens=6, stopped=False),
    ]
    *_, last = stream_response(model, tokenizer, PROMPTS[0], SHORT)
    assert last == Response(text=tokenizer.decode(first[:end]), tokens=end + 1, stopped=True)


def test_control_tokens_are_no_part_of_an_answer(model, tokenizer):
    only(model, tokenizer.pad_token_id)
    assert generate_responses(model, tokenizer, ["Hi"], SHORT) == [Response(text="", tokens=6, stopped=False)]


@pytest.mark.parametrize("defaults", [{"no_repeat_ngram_size": 1}, {"suppress_tokens": [65]}, {"min_new_tokens": 5}])
def test_defaults_of_the_model_do_not_change_an_answer(defaults, model, tokenizer):
    only(model, 65)
    expected = [Response(text=tokenizer.decode([65]) * 3, tokens=3, stopped=False)]
    for name, value in defaults.items():
        setattr(model.generation_config, name, value)
    own = model.generation_config
    assert generate_responses(model, tokenizer, ["Hi"], Decoding(max_new_tokens=3)) == expected
    assert model.generation_config is own


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back(training, model, tokenizer):
    model.train(training)
    generate_responses(model, tokenizer, ["Hi"], SHORT)
    assert model.training == training
    list(stream_response(model, tokenizer, "Hi", SHORT))
    assert model.training == training


def test_an_answer_needs_no_gradient_and_no_dropout(model, tokenizer):
    modes = []
    model.train()
    model.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    generate_responses(model, tokenizer, ["Hi"], SHORT)
    list(stream_response(model, tokenizer, "Hi", SHORT))
    assert set(modes) == {(False, False)}


@pytest.mark.parametrize("decoding", [SHORT, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_stream_grows_from_nothing_to_the_answer(prompt, decoding, model, tokenizer):
    first, *others = stream_response(model, tokenizer, prompt, decoding)
    assert first == Response(text="", tokens=0, stopped=False)
    assert others[-1:] == generate_responses(model, tokenizer, [prompt], decoding)
    assert all(later.text.startswith(sooner.text) for sooner, later in itertools.pairwise(others))


def test_a_character_of_several_tokens_comes_whole(model, tokenizer):
    euro = tokenizer.encode("€")
    assert len(euro) == 3
    only(model, euro[0])
    assert [response.tokens for response in stream_response(model, tokenizer, "Hi", SHORT)] == [0, 6]


@pytest.mark.parametrize(
    "ask",
    [
        lambda *asked: generate_responses(asked[0], asked[1], ["Hi"], SHORT)[0],
        lambda *asked: list(stream_response(*asked, "Hi", SHORT))[-1],
    ],
    ids=["whole", "stream"],
)
def test_who_waits_for_another_answer_stops_where_the_model_says(ask, model, tokenizer):
    only(model, 65)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 65]
    begun, go_on, found = threading.Event(), threading.Event(), []

    def hold(*_):
        begun.set()
        go_on.wait(60)

    model.register_forward_hook(hold)
    first, second = (threading.Thread(target=lambda: found.append(ask(model, tokenizer))) for _ in range(2))
    first.start()
    assert begun.wait(60)
    second.start()
    second.join(0.2)  # long enough to ask, while the first one has the model
    go_on.set()
    for thread in (first, second):
        thread.join(60)
    assert found == [Response(text="", tokens=1, stopped=True)] * 2


def test_beams_are_streamed_in_one_piece_at_their_end(model, tokenizer):
    beams = Decoding(max_new_tokens=6, num_beams=3)
    _, *others = stream_response(model, tokenizer, PROMPTS[0], beams)
    assert set(others) == set(generate_responses(model, tokenizer, PROMPTS[:1], beams))


def test_a_stream_waits_for_its_turn_and_can_be_stopped_before_it(model, tokenizer, passes):
    only(model, tokenizer.encode(" a")[0])
    begun, waited, stop = threading.Event(), [], threading.Event()
    hook = model.register_forward_hook(lambda *_: time.sleep(0.001))
    first = stream_response(model, tokenizer, "Hi", Decoding(max_new_tokens=900))
    next(first)

    def wait():
        begun.set()
        waited.extend(stream_response(model, tokenizer, "Hi", SHORT, stop=stop))

    second = threading.Thread(target=wait)
    second.start()
    assert begun.wait(5)
    stop.set()
    second.join(5)
    assert not second.is_alive()
    assert waited == [Response(text="", tokens=0, stopped=False)]
    assert len(set(passes)) == 1
    first.close()
    hook.remove()


def test_a_stream_comes_while_the_model_is_at_work(model, tokenizer, passes):
    only(model, tokenizer.encode(" a")[0])
    stream = stream_response(model, tokenizer, "Hi", Decoding(max_new_tokens=900))
    model.register_forward_hook(lambda *_: time.sleep(0.001))
    next(stream)
    assert len(passes) < 900
    stream.close()


def test_closing_a_stream_stops_the_model(model, tokenizer, passes):
    only(model, tokenizer.encode(" a")[0])
    model.register_forward_hook(lambda *_: time.sleep(0.001))
    stream = stream_response(model, tokenizer, "Hi", Decoding(max_new_tokens=900))
    next(stream)
    stream.close()
    assert not any(thread.is_alive() for thread in passes)
    assert threading.current_thread() not in passes
    assert 0 < len(passes) < 900


def test_a_stream_that_nobody_reads_asks_the_model_nothing(model, tokenizer, passes):
    stream_response(model, tokenizer, "Hi", SHORT).close()
    assert passes == []


def test_a_failure_of_the_model_reaches_the_reader_of_the_stream(model, tokenizer):
    def fail(*_):
        raise MemoryError("no room left")

    model.register_forward_hook(fail)
    model.train()
    stream = stream_response(model, tokenizer, "Hi", SHORT)
    with pytest.raises(MemoryError, match="no room left"):
        list(stream)
    assert model.training


def test_decoding_names_all_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        Decoding(max_new_tokens=0, temperature=-1.0, top_p=0.0, top_k=-1, num_beams=0, repetition_penalty=0.0)
    assert str(caught.value).split("; ") == [
        "max_new_tokens must be at least 1, got 0",
        "temperature must be between 0 and 10, got -1.0",
        "top_p must be above 0 and at most 1, got 0.0",
        "top_k must be 0 (no limit) or more, got -1",
        "num_beams must be at least 1, got 0",
        "repetition_penalty must be above 0, got 0.0",
    ]


@pytest.mark.parametrize("name", ["temperature", "top_p", "repetition_penalty"])
def test_nan_is_refused(name):
    with pytest.raises(ConfigError, match=f"^{name} must be .*, got nan$"):
        Decoding(**{name: float("nan")})


def test_beams_and_temperature_exclude_each_other():
    with pytest.raises(ConfigError, match="num_beams above 1 works at temperature 0 only; set one of them"):
        Decoding(num_beams=2, temperature=0.5)


def test_the_limits_themselves_are_fine():
    assert Decoding(max_new_tokens=1, temperature=10.0, top_p=1.0, top_k=0, repetition_penalty=0.1).temperature == 10
    assert Decoding(temperature=0.0, num_beams=8).num_beams == 8


def test_an_answer_ends_behind_a_stop_text(tiny_base):
    model = load_base_model(tiny_base, precision="fp32", device="cpu")
    tokenizer = load_tokenizer(tiny_base)
    decoding = Decoding(max_new_tokens=30, temperature=1.0, seed=0)
    (whole,) = generate_responses(model, tokenizer, ["Name a colour."], decoding)
    stop = whole.text[4:6]
    (cut,) = generate_responses(model, tokenizer, ["Name a colour."], decoding, stop_texts=["never", stop])
    assert whole.text.startswith(cut.text)
    assert stop in cut.text
    assert cut.tokens < whole.tokens


def test_a_stop_text_is_looked_for_in_the_answer_and_not_in_the_prompt(model, tokenizer):
    (line_end,) = tokenizer.encode("\n")
    only(model, line_end)
    prompts = ["Hi\n", "Name the capital of France."]
    assert [
        (response.text, response.tokens)
        for response in generate_responses(model, tokenizer, prompts, SHORT, stop_texts=["\n\n"])
    ] == [("\n\n", 2)] * 2


def test_a_stop_text_may_be_a_control_token(model, tokenizer):
    only(model, tokenizer.pad_token_id)
    (response,) = generate_responses(model, tokenizer, ["Hi"], SHORT, stop_texts=[tokenizer.pad_token])
    assert response == Response(text="", tokens=1, stopped=False)


def test_a_seed_that_torch_cannot_take_is_refused():
    with pytest.raises(ConfigError, match="seed must be within 64 bits, got 73786976294838206464"):
        Decoding(seed=2**66)
