"""Tiny models with trained adapters, batches for them, and the loss and gradients of transformers and PEFT alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import pytest

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 0,
}
"""With weights this large attention is sharp, and so the gradients of queries and keys are not small."""


@pytest.fixture(scope="session")
def relative_error() -> Callable[[Any, Any], float]:
    """Measure |found - expected| / |expected| of two tensors, or of mappings of them: the worst name."""

    def error(found: Any, expected: Any) -> float:
        if isinstance(expected, Mapping):
            assert found.keys() == expected.keys()
            return max(error(found[name], expected[name]) for name in expected)
        assert found.shape == expected.shape
        found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
        return float((found - expected).norm() / expected.norm().clamp(min=1e-30))

    return error


@pytest.fixture(scope="session")
def cosine() -> Callable[[Mapping[str, Any], Mapping[str, Any]], float]:
    """Measure the cosine of two sets of gradients, all of them as one vector; the loss among them is left out."""
    import torch

    def measure(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
        assert found.keys() == expected.keys()
        pairs = [(found[name].flatten().double(), expected[name].flatten().double()) for name in found]
        left, right = (torch.cat(side) for side in zip(*[pair for pair in pairs if pair[0].numel() > 1], strict=True))
        return float(left @ right / (left.norm() * right.norm()))

    return measure


@pytest.fixture(scope="session")
def differentiate() -> Callable[..., dict[str, Any]]:
    """Run a function of tensors: its outputs, and the gradients under a fixed random weighting of them.

    `differentiate(function, x=..., weight=...)` calls `function(x, weight)`; it gives `out0`, … and `d x`, `d weight`.
    """
    import torch

    def run(function: Callable[..., Any], **inputs: Any) -> dict[str, Any]:
        leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
        outputs = function(*leaves.values())
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        generator = torch.Generator().manual_seed(5)
        weights = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
        grads = torch.autograd.grad(outputs, list(leaves.values()), weights)
        found = {f"out{index}": out.detach() for index, out in enumerate(outputs)}
        return found | {f"d {name}": grad for name, grad in zip(leaves, grads, strict=True)}

    return run


@pytest.fixture(scope="session")
def kept_numbers() -> Callable[[Callable[[], Any]], int]:
    """Count the numbers that a forward pass keeps for the backward pass."""
    import torch

    def count(function: Callable[[], Any]) -> int:
        kept: list[int] = []

        def note(part: Any) -> Any:
            kept.append(part.numel())
            return part

        with torch.autograd.graph.saved_tensors_hooks(note, lambda part: part):
            function()
        return sum(kept)

    return count


@pytest.fixture(scope="session")
def attend_plainly() -> Callable[..., Any]:
    """Attend record by record and head by head, as in the paper; arguments as those of `packed_attention`."""
    import torch

    def attend(q_NKGd: Any, k_NKd: Any, v_NKd: Any, bounds: Sequence[int], scale: float, prefixes: Any = ()) -> Any:
        records = []
        for (start, stop), prefix in zip_longest(pairwise(bounds), prefixes, fillvalue=range(0)):
            q, k, v = q_NKGd[start:stop], *(part[[*prefix, *range(start, stop)]] for part in (k_NKd, v_NKd))
            s_KGQL = torch.einsum("qkgd,lkd->kgql", q, k) * scale
            future = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).triu(1 + len(prefix))
            p_KGQL = s_KGQL.masked_fill(future, float("-inf")).softmax(-1)
            records.append(torch.einsum("kgql,lkd->qkgd", p_KGQL, v))
        return torch.cat(records).flatten(1)

    return attend


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """Build a random model with an adapter that is not zero, in training mode.

    `make_model("qwen2", lora={"r": 8}, dtype=torch.bfloat16, num_key_value_heads=4, ...)`.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from alpaca_lora.adapters.attach import quiet_peft

    def make(architecture: str = "llama", *, lora: Any = None, dtype: Any = torch.float32, **config: Any) -> Any:
        lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **(lora or {})}
        with torch.random.fork_rng(), quiet_peft():
            torch.manual_seed(0)
            base = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **{**SIZES, **config}))
            for parameter in base.parameters():
                if parameter.dim() == 1:  # norms and biases, which start as ones and zeros
                    parameter.data += 0.2 * torch.randn_like(parameter)
            model = get_peft_model(base.to(dtype).requires_grad_(False), LoraConfig(**lora, task_type="CAUSAL_LM"))
            perturb(model)
        return model.train()

    return make


def perturb(model: Any) -> None:
    """Move every trained parameter away from its start, in float32."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float() + 0.05 * torch.randn(parameter.shape).to(parameter.device)


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., list[dict[str, Any]]]:
    """Make rows of records of the given lengths, of random tokens of which the later half is learned.

    `make_rows([[9, 5], [7]])`; with `alike=20` all of them begin with the same 20 tokens, of which none is learned.
    """
    import torch

    from alpaca_lora.models import IGNORED

    def make(rows: Sequence[Sequence[int]], *, seed: int = 0, alike: int = 0) -> list[dict[str, Any]]:
        generator = torch.Generator().manual_seed(seed)
        made = []
        for lengths in rows:
            ids = torch.randint(2, SIZES["vocab_size"], (sum(lengths),), generator=generator).tolist()
            positions = [position for length in lengths for position in range(length)]
            ids = [2 + place * 7 % 90 if place < alike else token for place, token in zip(positions, ids, strict=True)]
            learned = [position > max(length // 2, alike) for length in lengths for position in range(length)]
            labels = [token if wanted else IGNORED for token, wanted in zip(ids, learned, strict=True)]
            made.append({"input_ids": ids, "labels": labels, "position_ids": positions})
        return made

    return make


@pytest.fixture(scope="session")
def make_batch(make_rows: Any) -> Callable[..., dict[str, Any]]:
    """Collate such rows: `make_batch([[9, 5], [7]])`, the second row being padded."""
    from alpaca_lora.training.dataset import Collator

    def make(
        rows: Sequence[Sequence[int]] = ((9, 5, 12), (7, 1, 4)), *, packed: bool = True, alike: int = 0
    ) -> dict[str, Any]:
        return Collator(pad_id=1, packed=packed)(make_rows(rows, alike=alike))

    return make


@pytest.fixture(scope="session")
def learn() -> Callable[..., dict[str, Any]]:
    """Go backward from a loss: the loss and the gradient of every trained parameter, by name."""

    def run(model: Any, loss: Any) -> dict[str, Any]:
        model.zero_grad(set_to_none=True)
        loss.backward()
        trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert [name for name, grad in trained.items() if grad is None] == []
        return {"loss": loss.detach(), **trained}

    return run


@pytest.fixture(scope="session")
def stock_loss() -> Callable[..., Any]:
    """Compute the loss as transformers and PEFT alone do: all logits of the model, and torch's cross-entropy."""
    import torch
    from torch.nn import functional

    def loss(model: Any, batch: Mapping[str, Any], total: float) -> Any:
        dtype = model.get_base_model().dtype
        inputs = {name: batch[name] for name in batch if name not in ("labels", "real_tokens")}
        with torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits_BTV = model(**inputs, use_cache=False).logits
        flat_NV, targets_N = logits_BTV[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten()
        return functional.cross_entropy(flat_NV, targets_N, reduction="sum") / total

    return loss


@pytest.fixture
def fast() -> Iterator[Callable[..., Any]]:
    """Apply the kernels to a model, `fast(model, rope=False, checkpointed=True)`, and undo it after the test."""
    from alpaca_lora.config import KernelSettings
    from alpaca_lora.kernels import apply

    paths = []

    def make(model: Any, *, longest_record: int = 64, checkpointed: bool = False, **settings: Any) -> Any:
        paths.append(apply(model, KernelSettings(**settings), longest_record=longest_record, checkpointed=checkpointed))
        return paths[-1]

    yield make
    for path in paths:
        path.undo()


@pytest.fixture(scope="session")
def make_nf4(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Load a tiny model in 4 bits with an adapter: `make_nf4("fp32")`. Its layers fill whole blocks of 64 values."""
    pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from alpaca_lora.adapters import attach_adapter
    from alpaca_lora.config import LoraSettings, QuantizationSettings
    from alpaca_lora.models import load_base_model

    directory = tmp_path_factory.mktemp("nf4-base")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {**SIZES, "hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.12}
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(directory)

    def make(precision: Any = "bf16", device: str = "cpu") -> Any:
        quantization = QuantizationSettings(method="nf4")
        base = load_base_model(directory, precision=precision, quantization=quantization, device=device)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = attach_adapter(base, LoraSettings(rank=4, alpha=8.0), base_dir=str(directory))
            perturb(model)
        return model.train()

    return make
