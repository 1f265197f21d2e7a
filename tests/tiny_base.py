"""A base model small enough for any test: a Llama of two layers with random weights, and a tokenizer of bytes."""

_TRAINING_TEXT = """\
Below is an instruction that describes a task, paired with an input that provides further context.
Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
Name the capital of France, then give three tips for staying healthy.

### Input:
The quick brown fox jumps over the lazy dog, and the dog does not mind at all.

### Response:
The capital of France is Paris. Eat a balanced diet, sleep well and exercise every day.
Add the numbers 12 and 30. The sum of 12 and 30 is 42. Two plus two equals four.
Translate the sentence into Spanish: good morning. Buenos días. Write a short story about a friendly robot.
"""


def write_tiny_base(directory):
    """Write model and tokenizer into a directory; the same bytes each time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|endoftext|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TRAINING_TEXT.splitlines(keepends=True), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|pad|>")

    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(directory)
    fast.save_pretrained(directory)
