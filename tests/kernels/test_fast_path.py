import copy
import warnings

import pytest
import torch

from alpaca_lora.config import KernelSettings
from alpaca_lora.kernels import apply, fast_path
from alpaca_lora.models import IGNORED, row_losses

UNPADDED = [[20, 31, 13]]
"""64 tokens, which the kernels do not pad, so that dropout draws the numbers that PEFT draws."""

TOTAL = 11.0
FILES = {
    "attention": "attention",
    "lora": "lora_linear",
    "loss": "cross_entropy",
    "norm": "rms_norm",
    "rope": "rope",
    "swiglu": "swiglu",
}
"""Which file holds the kernel of each lever."""
LEVERS = tuple(FILES)
SHAPES = {
    "llama": ("llama", {}),
    "llama, a key head for each query head": ("llama", {"num_key_value_heads": 4}),
    "llama, one key head": ("llama", {"num_key_value_heads": 1}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": ("llama", {"head_dim": 16}),
    "llama, stretched positions": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4}},
    ),
    "mistral": ("mistral", {}),
    "mistral, a key head for each query head, tied": (
        "mistral",
        {"num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    "mistral, a window that is never reached": ("mistral", {"sliding_window": 64}),
    "qwen2": ("qwen2", {}),
    "qwen2, a key head for each query head": ("qwen2", {"num_key_value_heads": 4}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
}


@pytest.fixture
def agree(fast, learn, stock_loss, relative_error):
    """Compare loss and gradients of a model with those of transformers and PEFT: the worst relative error.

    `agree(model, batch, seed=3, rope=False)`: a seed makes both draw the same dropout.
    """

    def compare(model, batch, *, seed=0, **options):
        path = fast(model, **options)
        torch.manual_seed(seed)
        expected = learn(model, stock_loss(model, batch, TOTAL))
        torch.manual_seed(seed)
        return relative_error(learn(model, path.loss(batch, TOTAL)), expected)

    return compare


def kernels_in(loss):
    """The files whose autograd functions a loss comes from."""
    found, seen, left = set(), set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(type(node), "_forward_cls"):
            found.add(type(node)._forward_cls.__module__.rpartition(".")[2])
        left += [part for part, _ in node.next_functions]
    return found


class TestWholeModel:
    """Loss and every adapter's gradient are those of transformers and PEFT."""

    @pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_float32_agrees(self, shape, packed, make_model, make_batch, fast, agree):
        architecture, config = shape
        model = make_model(architecture, **config)
        batch = make_batch() if packed else make_batch([[9], [17], [2]], packed=False)
        path = fast(model)
        assert path.fallbacks == ()
        assert kernels_in(path.loss(batch, TOTAL)) == set(FILES.values())
        assert agree(model, batch) <= 1e-5

    @pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
    def test_float32_agrees_to_the_mask_of_its_dropout(self, architecture, make_model, make_batch, agree):
        model = make_model(architecture, lora={"lora_dropout": 0.3})
        assert agree(model, make_batch(UNPADDED), seed=3) <= 1e-5

    def test_another_mask_gives_another_loss(self, make_model, make_batch, fast):
        path, batch = fast(make_model(lora={"lora_dropout": 0.3})), make_batch()
        assert not torch.equal(path.loss(batch, TOTAL), path.loss(batch, TOTAL))

    @pytest.mark.parametrize("dropout", [0.0, 0.3])
    @pytest.mark.parametrize("lever", LEVERS)
    def test_each_lever_off_gives_the_same(self, lever, dropout, make_model, make_batch, agree):
        model = make_model("qwen2", lora={"lora_dropout": dropout})
        assert agree(model, make_batch(UNPADDED), **{lever: False}) <= 1e-5

    @pytest.mark.parametrize("lever", LEVERS)
    def test_each_lever_switches_its_own_kernel(self, lever, make_model, make_batch, fast):
        model, batch, file = make_model(), make_batch(), FILES[lever]
        assert kernels_in(fast(model, **{lever: False}).loss(batch, TOTAL)) == set(FILES.values()) - {file}
        assert kernels_in(fast(model, **(dict.fromkeys(LEVERS, False) | {lever: True})).loss(batch, TOTAL)) == {file}

    def test_all_levers_off_give_the_same(self, make_model, make_batch, agree):
        assert agree(make_model("qwen2"), make_batch(), **dict.fromkeys(LEVERS, False)) <= 1e-5

    @pytest.mark.parametrize("dropout", [0.0, 0.3])
    def test_gradient_checkpointing_gives_the_same(self, dropout, make_model, make_batch, agree):
        model = make_model("qwen2", lora={"lora_dropout": dropout})
        assert agree(model, make_batch(UNPADDED), checkpointed=True) <= 1e-5

    def test_gradient_checkpointing_keeps_less(self, make_model, make_batch, fast, kept_numbers):
        model, batch = make_model(), make_batch()
        paths = [fast(model, checkpointed=checkpointed) for checkpointed in (False, True)]
        usual, less = (kept_numbers(lambda path=path: path.loss(batch, TOTAL)) for path in paths)
        assert less < usual / 2

    @pytest.mark.parametrize(
        "lora",
        [
            {"r": 1, "lora_alpha": 1},
            {"r": 8, "lora_alpha": 2},
            {"r": 8, "lora_alpha": 16, "use_rslora": True},
            {"rank_pattern": {"q_proj": 2, "down_proj": 6}, "alpha_pattern": {"o_proj": 3}},
            {"target_modules": ["q_proj", "v_proj"]},
            {"target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.3},
            {"target_modules": ["down_proj"], "layers_to_transform": [1]},
        ],
        ids=str,
    )
    def test_ranks_scales_and_targets_are_peft_s(self, lora, make_model, make_batch, agree):
        assert agree(make_model("qwen2", lora=lora), make_batch(UNPADDED)) <= 1e-5

    @pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
    def test_bf16_agrees_with_float32(self, architecture, make_model, make_batch, fast, learn, stock_loss, cosine):
        model, batch = make_model(architecture, dtype=torch.bfloat16), make_batch()
        exact = copy.deepcopy(model).float()
        truth = learn(exact, stock_loss(exact, batch, TOTAL))
        found = learn(model, fast(model).loss(batch, TOTAL))
        assert found["loss"].item() == pytest.approx(truth["loss"].item(), rel=1e-2)
        assert cosine(found, truth) > 0.999
        assert {grad.dtype for grad in found.values()} == {torch.float32}

    def test_evaluation_mode_switches_dropout_off(self, make_model, make_batch, agree):
        model = make_model(lora={"lora_dropout": 0.5}).eval()
        assert agree(model, make_batch(), seed=3) <= 1e-5


class TestLoss:
    """What is summed, and by what it is divided."""

    def test_micro_batches_add_up_to_the_step(self, make_model, make_batch, fast, learn, relative_error):
        model = make_model()
        path, lengths = fast(model), [[9, 5], [4, 12], [7, 1, 3]]
        whole = make_batch(lengths)
        together = learn(model, path.loss(whole, TOTAL))
        apart = learn(model, sum(path.loss({k: v[i : i + 1] for k, v in whole.items()}, TOTAL) for i in range(3)))
        assert relative_error(apart, together) <= 1e-5

    def test_the_count_of_a_step_may_be_a_tensor(self, make_model, make_batch, fast):
        path, batch = fast(make_model()), make_batch()
        assert torch.equal(path.loss(batch, torch.tensor(11)), path.loss(batch, 11.0))

    def test_no_supervised_token_is_no_loss_and_no_gradient(self, make_model, make_batch, fast, learn):
        model, batch = make_model(), make_batch()
        batch["labels"].fill_(IGNORED)
        assert not any(value.any() for value in learn(model, fast(model).loss(batch, TOTAL)).values())

    def test_a_batch_is_not_changed(self, make_model, make_batch, fast):
        batch = make_batch()
        before = {name: value.clone() for name, value in batch.items()}
        fast(make_model()).loss(batch, TOTAL)
        assert batch.keys() == before.keys()
        assert all(torch.equal(batch[name], before[name]) for name in before)

    def test_the_loss_is_there_without_gradients_too(self, make_model, make_batch, fast, stock_loss):
        model, batch = make_model(), make_batch()
        with torch.no_grad():
            loss = fast(model).loss(batch, TOTAL)
            torch.testing.assert_close(loss, stock_loss(model, batch, TOTAL))
        assert not loss.requires_grad


class TestIsolation:
    """What a record teaches does not depend on its neighbours, and the check would notice if it did."""

    lengths = (9, 14, 5)

    @pytest.fixture
    def of_others(self, make_model, make_batch, fast, learn):
        """Loss and gradients of the first and third record, with the second as it is and with other tokens."""
        model = make_model("qwen2")

        def run(merged=None):
            path, results = fast(model), []
            for shift in (0, 40):
                batch = make_batch([self.lengths])
                batch["labels"][:, 9:23] = IGNORED
                batch["input_ids"][:, 9:23] = (batch["input_ids"][:, 9:23] + shift) % 96
                if merged is not None:
                    start = sum(self.lengths[:merged])
                    batch["position_ids"][:, start : start + self.lengths[merged]] += self.lengths[merged - 1]
                results.append(learn(model, path.loss(batch, TOTAL)))
            return results

        return run

    def test_the_tokens_of_a_record_change_nothing_of_others(self, of_others):
        one, two = of_others()
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert one["loss"] > 0

    def test_one_wrong_bound_is_noticed(self, of_others, relative_error):
        assert relative_error(*of_others(merged=2)) > 1e-2

    def test_a_row_teaches_what_its_records_teach_alone(
        self, make_model, make_rows, make_batch, fast, learn, stock_loss, relative_error
    ):
        model, (row,) = make_model("qwen2"), make_rows([self.lengths])
        found = learn(model, fast(model).loss(make_batch([self.lengths]), TOTAL))
        losses = []
        for start, stop in ((0, 9), (9, 23), (23, 28)):
            alone = {name: torch.tensor([values[start:stop]]) for name, values in row.items()}
            del alone["position_ids"]
            losses.append(stock_loss(model, alone, TOTAL))
        assert relative_error(found, learn(model, sum(losses))) <= 1e-5


PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WHOLE = "the whole model runs as transformers has it: "


class TestFallbacks:
    """What kernels cannot compute is left to transformers and PEFT, is said, and is still right."""

    @pytest.mark.parametrize(
        ("lora", "reason"),
        [
            ({"use_dora": True}, "it uses DoraLinearVariant"),
            ({"lora_bias": True}, "it trains a bias of the adapter"),
        ],
        ids=["dora", "lora_bias"],
    )
    def test_a_kind_of_adapter(self, lora, reason, make_model, make_batch, fast, agree):
        model = make_model(lora=lora, attention_bias=True, mlp_bias=True)
        assert fast(model).fallbacks == tuple(
            f"{name} of 2 layers runs as PEFT has it: {reason}" for name in PROJECTIONS
        )
        assert agree(model, make_batch()) <= 1e-5

    def test_some_layers_of_a_kind(self, make_model, make_batch, fast, agree):
        model = make_model(lora={"use_dora": True, "target_modules": ["k_proj"], "layers_to_transform": [1]})
        assert fast(model).fallbacks == ("k_proj of 1 layers runs as PEFT has it: it uses DoraLinearVariant",)
        assert agree(model, make_batch()) <= 1e-5

    def test_two_active_adapters(self, make_model, make_batch, fast, agree):
        from peft import LoraConfig

        model = make_model(lora={"target_modules": ["q_proj", "v_proj"]})
        torch.manual_seed(1)
        model.add_adapter("second", LoraConfig(r=2, target_modules=["v_proj", "o_proj"], init_lora_weights=False))
        model.base_model.set_adapter(["default", "second"])
        assert {line.partition(": ")[2] for line in fast(model).fallbacks} == {"2 adapters are active"}
        assert agree(model, make_batch()) <= 1e-5

    def test_a_second_adapter_that_is_the_active_one(self, make_model, make_batch, fast, agree):
        from peft import LoraConfig

        model = make_model(lora={"target_modules": ["q_proj", "v_proj"]})
        torch.manual_seed(1)
        model.add_adapter("second", LoraConfig(r=2, target_modules=["v_proj", "o_proj"], init_lora_weights=False))
        model.set_adapter("second")
        assert fast(model).fallbacks == ()
        assert agree(model, make_batch()) <= 1e-5

    def test_a_merged_adapter(self, make_model, make_batch, fast, stock_loss, relative_error):
        model, batch = make_model(), make_batch()
        expected = stock_loss(model, batch, TOTAL)
        model.merge_adapter()
        path = fast(model)
        assert {line.partition(": ")[2] for line in path.fallbacks} == {"its adapter is merged or switched off"}
        assert relative_error(path.loss(batch, TOTAL), expected) <= 1e-5

    def test_an_adapter_switched_off_for_a_moment(self, make_model, make_batch, fast, stock_loss, relative_error):
        model, batch = make_model(), make_batch()
        path = fast(model)
        with model.disable_adapter():
            without = path.loss(batch, TOTAL)
            assert relative_error(without, stock_loss(model, batch, TOTAL)) <= 1e-5
        assert relative_error(path.loss(batch, TOTAL), stock_loss(model, batch, TOTAL)) <= 1e-5
        assert relative_error(without, path.loss(batch, TOTAL)) > 1e-4

    @pytest.mark.parametrize(
        ("architecture", "config", "reason"),
        [
            ("qwen3", {"head_dim": 8}, "the kernels know llama, mistral, qwen2, and this is qwen3"),
            (
                "gpt_neox",
                {"num_key_value_heads": None},
                "the kernels know llama, mistral, qwen2, and this is gpt_neox",
            ),
            ("mistral", {"sliding_window": 6}, "it attends to 6 tokens, and records have up to 64"),
            (
                "qwen2",
                {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
                "it attends to 6 tokens, and records have up to 64",
            ),
            ("llama", {"hidden_act": "gelu"}, "its activation is 'gelu' and its attention dropout 0.0"),
        ],
        ids=["qwen3", "gpt_neox", "mistral's window", "qwen2's window", "gelu"],
    )
    def test_a_kind_of_model(self, architecture, config, reason, make_model, make_batch, fast, agree):
        model = make_model(architecture, **config)
        path = fast(model)
        assert (path.decoder, path.applied, path.fallbacks) == (None, (), (WHOLE + reason,))
        assert agree(model, make_batch()) <= 1e-5

    def test_attention_dropout(self, make_model, make_batch, agree, fast):
        model = make_model(attention_dropout=0.2)
        assert fast(model).fallbacks == (WHOLE + "its activation is 'silu' and its attention dropout 0.2",)
        assert agree(model, make_batch(UNPADDED), seed=3) <= 1e-5

    def test_a_window_that_the_longest_record_just_fills(self, make_model, make_batch, fast, agree):
        model = make_model("mistral", sliding_window=12)
        assert fast(model, longest_record=12).fallbacks == ()
        assert fast(model, longest_record=13).decoder is None
        assert agree(model, make_batch([[12, 5, 12]]), longest_record=12) <= 1e-5

    def test_a_window_of_qwen2_that_is_not_used(self, make_model, make_batch, fast, agree):
        model = make_model("qwen2", use_sliding_window=False, sliding_window=6)
        assert fast(model).fallbacks == ()
        assert agree(model, make_batch()) <= 1e-5

    def test_switched_off_by_the_settings(self, make_model, make_batch, fast, agree):
        model = make_model()
        assert fast(model, enabled=False).fallbacks == (WHOLE + "config.kernels.enabled is off",)
        assert agree(model, make_batch(), enabled=False) <= 1e-5

    def test_fp16(self, make_model, make_batch, fast, learn, stock_loss, cosine):
        model, batch = make_model(dtype=torch.float16), make_batch()
        exact = copy.deepcopy(model).float()
        path = fast(model)
        assert path.fallbacks == (WHOLE + "it is in fp16, whose gradients have to be scaled",)
        truth, found = learn(exact, stock_loss(exact, batch, TOTAL)), learn(model, path.loss(batch, TOTAL))
        assert found["loss"].item() == pytest.approx(truth["loss"].item(), rel=1e-2)
        assert cosine(found, truth) > 0.999

    @pytest.mark.parametrize(
        "lora",
        [
            {"target_modules": ["q_proj", "lm_head"]},
            {"target_modules": ["q_proj", "embed_tokens"]},
            {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
            {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
            {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]},
            {"target_modules": ["q_proj"], "trainable_token_indices": [5, 7, 20]},
            {"target_modules": ["q_proj"], "bias": "all"},
        ],
        ids=str,
    )
    def test_what_is_trained_beside_adapters_of_linear_layers(self, lora, make_model, make_batch, agree):
        assert agree(make_model("qwen2", lora=lora), make_batch()) <= 1e-5


def test_what_is_applied_is_what_is_switched_on(make_model, fast):
    model = make_model()
    assert fast(model).applied == ("shared_prefixes", *LEVERS)
    assert fast(model, rope=False, loss=False).applied == ("shared_prefixes", "attention", "lora", "norm", "swiglu")


class TestNF4:
    """Four-bit layers on the CPU, unpacked at each use or kept."""

    @pytest.mark.parametrize("cache", [0.0, None], ids=["unpacked anew", "kept"])
    def test_float32_agrees_with_peft(self, cache, make_nf4, make_batch, agree):
        assert agree(make_nf4("fp32"), make_batch(), nf4_cache_gib=cache) <= 1e-5

    @pytest.mark.parametrize("cache", [0.0, None], ids=["unpacked anew", "kept"])
    def test_bf16_agrees_with_peft(self, cache, make_nf4, make_batch, fast, learn, stock_loss, cosine):
        model, batch = make_nf4(), make_batch()
        truth = learn(model, stock_loss(model, batch, TOTAL))
        found = learn(model, fast(model, nf4_cache_gib=cache).loss(batch, TOTAL))
        assert found["loss"].item() == pytest.approx(truth["loss"].item(), rel=1e-2)
        assert cosine(found, truth) > 0.999

    def test_kept_weights_change_no_bit(self, make_nf4, make_batch, fast, learn):
        model, batch = make_nf4(), make_batch()
        anew, kept = (fast(model, nf4_cache_gib=cache) for cache in (0.0, None))
        found = [learn(model, path.loss(batch, TOTAL)) for path in (anew, kept, kept)]
        assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in other)
        assert (len(anew.decoder.weights.kept), len(kept.decoder.weights.kept)) == (0, 2 * 7)

    def test_no_more_is_kept_than_was_allowed(self, make_nf4, make_batch, fast):
        allowed = 3 * 64 * 128 * 2 + 100
        path = fast(make_nf4(), nf4_cache_gib=allowed / 2**30)
        weights = path.decoder.weights
        for _ in range(2):
            path.loss(make_batch(), TOTAL)
        held = sum(weight.nbytes for weight in weights.kept.values())
        assert 0 < held <= allowed

    def test_undo_frees_what_was_kept(self, make_nf4, make_batch, fast):
        path = fast(make_nf4())
        weights = path.decoder.weights
        path.loss(make_batch(), TOTAL)
        assert len(weights.kept) == 2 * 7
        path.undo()
        assert not weights.kept

    @pytest.fixture
    def around_an_evaluation(self, make_batch, make_rows, fast, learn):
        """Loss and gradients before and after an evaluation, from the same weights."""

        def run(model, **settings):
            path, found = fast(model, **settings), []
            found.append(learn(model, path.loss(make_batch(), TOTAL)))
            row_losses(model, [(row["input_ids"], row["labels"]) for row in make_rows([[9], [12]])])
            found.append(learn(model, path.loss(make_batch(), TOTAL)))
            return found

        return run

    @pytest.mark.parametrize("lever", [{}, {"nf4_cache_gib": 0.0}, {"lora": False}], ids=str)
    def test_an_evaluation_changes_nothing_of_what_is_learned_next(self, lever, make_nf4, around_an_evaluation):
        before, after = around_an_evaluation(make_nf4(), **lever)
        assert all(value.any() for value in after.values())
        assert all(torch.equal(before[name], after[name]) for name in before)

    @pytest.mark.parametrize("lever", [{"nf4_cache_gib": 0.0}, {"lora": False}], ids=str)
    def test_bitsandbytes_as_it_comes_would_spoil_it(self, lever, make_nf4, around_an_evaluation, relative_error):
        from bitsandbytes.functional import has_avx512bf16

        if not has_avx512bf16():
            pytest.skip("this processor has no AVX512-BF16, for which bitsandbytes repacks weights")
        model = make_nf4()
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*an autograd kernel was not registered")
            before, after = around_an_evaluation(model, **lever)
        assert relative_error(after, before) > 0.1

    @pytest.mark.parametrize("cache", [0.0, None], ids=["unpacked anew", "kept"])
    def test_the_loss_goes_on_falling_after_an_evaluation(self, cache, make_nf4, make_rows, make_batch, fast, learn):
        model, batch = make_nf4(), make_batch()
        path = fast(model, nf4_cache_gib=cache)
        rows = [(row["input_ids"], row["labels"]) for row in make_rows([[9], [12]])]
        optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-2)
        losses = []
        for _ in range(2):
            for _ in range(3):
                losses.append(learn(model, path.loss(batch, TOTAL))["loss"].item())
                optimizer.step()
            row_losses(model, rows)
        assert all(later < earlier for earlier, later in zip(losses, losses[1:], strict=False))


def anatomy(model):
    """All that a patch would change: modules, their classes, methods and hooks, and parameters."""
    modules = {
        name: (id(module), type(module), sorted(vars(module)), [len(hooks) for hooks in hooks_of(module)])
        for name, module in model.named_modules()
    }
    classes = {kind: dict(vars(kind)) for module in model.modules() for kind in type(module).__mro__}
    parameters = {name: (id(part), part.data_ptr(), part.requires_grad) for name, part in model.named_parameters()}
    functions = dict(vars(torch.nn.functional))
    return modules, classes, parameters, list(model.state_dict()), functions


def hooks_of(module):
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def outputs(model, batch):
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


class TestUndo:
    """Nothing of a model is changed, so there is nothing to restore."""

    def test_a_model_is_what_it_was_after_apply_a_step_and_undo(self, make_model, make_batch):
        model, batch = make_model(), make_batch([[9], [17]], packed=False)
        before, seen = anatomy(model), outputs(model, batch)
        path = apply(model, KernelSettings(), longest_record=64)
        assert anatomy(model) == before
        path.loss(batch, TOTAL).backward()
        assert anatomy(model) == before
        path.undo()
        assert anatomy(model) == before
        assert torch.equal(outputs(model, batch), seen)

    @pytest.mark.parametrize("patch", ["method", "class", "hook"])
    def test_a_patch_would_be_noticed(self, patch, make_model, monkeypatch):
        model = make_model()
        before, norm = anatomy(model), model.get_base_model().model.norm
        if patch == "method":
            norm.forward = lambda x: x
        elif patch == "class":
            monkeypatch.setattr(type(norm), "forward", lambda self, x: x)
        else:
            norm.register_forward_hook(lambda *_: None)
        assert anatomy(model) != before

    def test_the_loss_after_undo_is_still_that_of_transformers(self, make_model, make_batch, fast, stock_loss):
        model, batch = make_model(), make_batch()
        path = fast(model)
        path.undo()
        torch.testing.assert_close(path.loss(batch, TOTAL), stock_loss(model, batch, TOTAL))

    @pytest.mark.parametrize(("device", "calls"), [("cpu", [True, False]), ("meta", [True])])
    def test_undo_leaves_an_allocator_alone_that_was_not_set(self, device, calls, make_model, fast, monkeypatch):
        seen = []
        monkeypatch.setattr(fast_path, "keep_freed_memory", lambda keep=True, **_: seen.append(keep))
        path = fast(make_model())
        path.model.to(device)
        path.undo()
        assert seen == calls

    @pytest.mark.parametrize(
        ("width", "checkpointed", "mapped"), [(1, True, True), (1, False, False), (9999, True, False)]
    )
    def test_tensors_are_mapped_in_wide_models_whose_layers_are_computed_again(
        self, width, checkpointed, mapped, make_model, fast, monkeypatch
    ):
        seen = []
        monkeypatch.setattr(fast_path, "keep_freed_memory", lambda keep=True, largest=0: seen.append(largest))
        monkeypatch.setattr(fast_path, "WIDE", width)
        fast(make_model(), checkpointed=checkpointed)
        assert seen == [fast_path.MAPPED_BYTES if mapped else 2**30]

    def test_undo_can_be_said_twice(self, make_model, fast):
        path = fast(make_model())
        path.undo()
        path.undo()
        assert path.decoder.weights.kept == {}

    def test_what_was_trained_is_saved_and_loaded_as_any_adapter(self, make_model, make_batch, fast, tmp_path):
        from peft import PeftModel

        from alpaca_lora.adapters.attach import quiet_peft

        model, batch = make_model(), make_batch([[9], [17]], packed=False)
        optimizer = torch.optim.SGD([part for part in model.parameters() if part.requires_grad], lr=0.1)
        fast(model).loss(batch, TOTAL).backward()
        optimizer.step()
        seen = outputs(model, batch)
        model.save_pretrained(tmp_path)
        with quiet_peft():
            loaded = PeftModel.from_pretrained(model.unload(), tmp_path)
        assert torch.equal(outputs(loaded, batch), seen)
