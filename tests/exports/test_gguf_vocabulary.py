"""Tokenizers in llama.cpp's terms."""

import itertools

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from alpaca_lora.errors import ModelError
from alpaca_lora.exports.gguf_vocabulary import read_vocabulary

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = [
    "Below is an instruction that describes a task.",
    "Écris « à bientôt » 12345 fois.",
    "The DOG isn't 7, is it?\n\n",
]


def splitting(expression):
    steps = [
        pre_tokenizers.Split(Regex(expression), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(steps)


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
KINDS = {
    "gpt-2": (GPT2, False),
    "smollm": (DIGITS, False),
    "qwen2": (splitting(QWEN2), False),
    "llama-bpe": (splitting(LLAMA3), True),
    "tekken": (splitting(TEKKEN), True),
}


def byte_level(pre_tokenizer=GPT2, *, ignore_merges=False, normalizer=None, **special):
    """A byte-level BPE, as GPT-2 has it."""
    fast = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    fast.pre_tokenizer, fast.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        fast.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|endoftext|>", **special)


def sentencepiece(*, merges=None, prepend="first"):
    """A character BPE with bytes for what it does not know, as SentencePiece makes it for Llama."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    learner.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=90, show_progress=False))
    learnt = sorted(learner.get_vocab(), key=lambda token: (len(token) > 1, learner.token_to_id(token)))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learnt]
    vocab = {token: index for index, token in enumerate(tokens)}
    scores = {token: -float(index) for token, index in vocab.items() if index >= 259}
    merges = merges or generate_merges(vocab, scores, skip_tokens=tokens[:259])
    model = models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    fast = Tokenizer(model)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    fast.add_special_tokens(tokens[:3])
    fast.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("name", KINDS)
def test_the_pre_tokenizer_is_known_by_its_expressions(name):
    pre_tokenizer, ignore_merges = KINDS[name]
    vocabulary = read_vocabulary(byte_level(pre_tokenizer, ignore_merges=ignore_merges), 300, (0,))
    assert (vocabulary.kind, vocabulary.pre) == ("gpt2", name)
    assert len(vocabulary.tokens) == len(vocabulary.types) == 300
    assert vocabulary.types[:3] == [3, 3, 1]
    assert not vocabulary.scores


def test_every_token_has_its_id_and_every_merge_its_rank():
    tokenizer = byte_level()
    vocabulary = read_vocabulary(tokenizer, 300, (0,))
    assert vocabulary.tokens == tokenizer.convert_ids_to_tokens(range(300))
    left, right = vocabulary.merges[0].split(" ")
    assert left + right in vocabulary.tokens


@pytest.mark.parametrize(
    ("pre_tokenizer", "options", "named"),
    [
        (splitting(QWEN2 + "|x"), {}, r"\|x['\"]"),
        (pre_tokenizers.ByteLevel(add_prefix_space=True), {}, "add_prefix_space"),
        (pre_tokenizers.Whitespace(), {}, "Whitespace"),
        (splitting(LLAMA3), {}, "ignore_merges False"),
        (GPT2, {"normalizer": normalizers.Lowercase()}, "normalizer 'Lowercase'"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(pre_tokenizer, options, named):
    with pytest.raises(ModelError, match=f"llama.cpp has no pre-tokenizer like this(?s:.*){named}"):
        read_vocabulary(byte_level(pre_tokenizer, **options), 300, (0,))


def test_ids_without_a_token_are_padding_and_ids_without_an_embedding_are_refused():
    vocabulary = read_vocabulary(byte_level(), 303, (0,))
    assert vocabulary.tokens[299:] == [vocabulary.tokens[299], "[PAD300]", "[PAD301]", "[PAD302]"]
    assert vocabulary.types[299:] == [1, 5, 5, 5]
    with pytest.raises(ModelError, match=r"has the id 299 \(.*\) but the model only 299 embeddings"):
        read_vocabulary(byte_level(), 299, (0,))


def test_an_added_token_keeps_its_id_and_a_token_twice_is_refused():
    tokenizer = byte_level()
    tokenizer.add_tokens(["[TOOL]"])
    vocabulary = read_vocabulary(tokenizer, 301, (0,))
    assert (vocabulary.tokens[300], vocabulary.types[300]) == ("[TOOL]", 4)
    tokenizer.add_tokens(["[PAD302]"])
    with pytest.raises(ModelError, match=r"'\[PAD302\]' stands for more than one id"):
        read_vocabulary(tokenizer, 303, (0,))


def test_further_stop_ids_and_the_beginning_of_text_are_said():
    tokenizer = byte_level(bos_token="<s>")
    assert read_vocabulary(tokenizer, 300, (0,)).special == {"bos": 1, "eos": 0}
    assert not read_vocabulary(tokenizer, 300, (0,)).add_bos
    vocabulary = read_vocabulary(sentencepiece(), 400, (2, 7, 9, 11))
    assert vocabulary.special == {"bos": 1, "eos": 2, "unk": 0, "eot": 7, "eom": 9}
    assert vocabulary.add_bos


def test_sentencepiece_scores_say_what_the_merges_say(tmp_path):
    import gguf

    tokenizer = sentencepiece()
    vocabulary = read_vocabulary(tokenizer, len(tokenizer), (2,))
    assert (vocabulary.kind, vocabulary.pre, vocabulary.space_prefix) == ("llama", "default", True)
    assert vocabulary.types[:4] == [2, 3, 3, 6]
    assert not vocabulary.merges
    writer = gguf.GGUFWriter(tmp_path / "vocabulary.gguf", "llama")
    vocabulary.add_to(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    reread = AutoTokenizer.from_pretrained(tmp_path, gguf_file="vocabulary.gguf")
    for text in (*TEXT, "unknown ☃ and\ttabs  twice", "dogdogdog"):
        assert reread(text).input_ids == tokenizer(text).input_ids


def test_no_space_goes_before_the_text_where_the_tokenizer_puts_none():
    assert not read_vocabulary(sentencepiece(prepend="never"), 400, (2,)).space_prefix


def test_merges_that_scores_cannot_say_are_refused():
    tokenizer = sentencepiece()
    import json

    merges = [tuple(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]
    several = next(token for token, pairs in itertools.groupby(merges, "".join) if len(list(pairs)) > 1)
    fewer = [pair for pair in merges if pair != next(pair for pair in merges if "".join(pair) == several)]
    with pytest.raises(ModelError, match="which is not among the tokenizer's merges"):
        read_vocabulary(sentencepiece(merges=fewer), 400, (2,))
    apart = sorted(merges, key=lambda pair: pair == next(pair for pair in merges if "".join(pair) == several))
    with pytest.raises(ModelError, match="merges of one token do not stand together"):
        read_vocabulary(sentencepiece(merges=apart), 400, (2,))


def test_another_kind_of_tokenizer_is_refused():
    fast = Tokenizer(models.WordLevel({"a": 0, "<s>": 1}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<s>")
    with pytest.raises(ModelError, match="is of type WordLevel; a GGUF file takes BPE"):
        read_vocabulary(tokenizer, 2, (1,))
