import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from alpaca_lora.kernels.projections import DenseWeights, Projection, projection_of


@pytest.fixture
def adapted():
    """A linear layer with an adapter: `adapted(lora_dropout=0.1)`."""

    def make(layer=None, **config):
        held = nn.ModuleDict({"part": layer or nn.Linear(8, 6)})
        inject_adapter_in_model(LoraConfig(r=2, target_modules=["part"], **config), held)
        return held["part"]

    return make


class TestProjection:
    """What is read of a layer, and what is refused."""

    def test_a_plain_layer_has_no_adapter(self):
        linear, weights = nn.Linear(8, 6), DenseWeights()
        assert projection_of(linear, weights) == Projection(linear, weights)

    def test_an_adapter_is_read_and_not_copied(self, adapted):
        module = adapted(lora_alpha=6, lora_dropout=0.25)
        found = projection_of(module, DenseWeights())
        assert found.linear is module.base_layer
        assert found.weight is module.base_layer.weight
        assert found.down is module.lora_A["default"].weight
        assert found.up is module.lora_B["default"].weight
        assert (found.scale, found.dropout) == (3.0, 0.25)

    def test_no_dropout_is_zero(self, adapted):
        assert projection_of(adapted(), DenseWeights()).dropout == 0.0

    def test_rslora_and_a_scale_set_later_count(self, adapted):
        module = adapted(lora_alpha=6, use_rslora=True)
        assert projection_of(module, DenseWeights()).scale == pytest.approx(6 / 2**0.5)
        module.set_scale("default", 0.5)
        assert projection_of(module, DenseWeights()).scale == pytest.approx(3 / 2**0.5)

    def test_a_layer_that_the_active_adapter_leaves_out_has_none(self, adapted):
        module = adapted()
        module.set_adapter("elsewhere")
        found = projection_of(module, DenseWeights())
        assert (found.linear, found.down, found.up) == (module.base_layer, None, None)

    @pytest.mark.parametrize(
        ("config", "reason"),
        [
            ({"use_dora": True}, "it uses DoraLinearVariant"),
            ({"lora_bias": True}, "it trains a bias of the adapter"),
        ],
        ids=["dora", "bias"],
    )
    def test_what_the_kernel_does_not_compute_is_refused(self, config, reason, adapted):
        assert projection_of(adapted(**config), DenseWeights()) == reason

    def test_two_active_adapters_are_refused(self, adapted):
        module = adapted()
        module.update_layer("second", 2, 4, config=LoraConfig(r=2))
        module.set_adapter(["default", "second"])
        assert projection_of(module, DenseWeights()) == "2 adapters are active"

    def test_an_adapter_that_is_merged_or_switched_off_is_refused_until_it_is_back(self, adapted):
        module, reason = adapted(), "its adapter is merged or switched off"
        module.merge()
        assert projection_of(module, DenseWeights()) == reason
        module.unmerge()
        module.enable_adapters(False)
        assert projection_of(module, DenseWeights()) == reason
        module.enable_adapters(True)
        assert isinstance(projection_of(module, DenseWeights()), Projection)

    def test_other_layers_are_refused_by_name(self, adapted):
        assert projection_of(nn.Identity(), DenseWeights()) == "it is a Identity"
        assert projection_of(adapted(nn.Conv2d(2, 3, 1)), DenseWeights()) == "its base is a Conv2d"


class TestDenseWeights:
    """Weights of four bits are unpacked, and kept as long as there is room."""

    @pytest.fixture
    def layers(self):
        """Three quantised layers and their weights as bitsandbytes unpacks them."""
        bitsandbytes = pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes")
        torch.manual_seed(0)
        made = []
        for out in (64, 128, 64):
            layer = bitsandbytes.nn.Linear4bit(64, out, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
            made.append(layer.bfloat16().to("cpu"))
        return made

    @staticmethod
    def unpacked(layer):
        """What a product with the unit matrix says that the weight is."""
        return layer(torch.eye(64, dtype=torch.bfloat16)).t()

    def test_a_dense_weight_is_the_parameter_itself(self):
        linear, weights = nn.Linear(8, 6), DenseWeights(1 << 20)
        assert weights.of(linear) is linear.weight
        assert not weights.kept

    @pytest.mark.parametrize("budget", [0, 1 << 20])
    def test_an_unpacked_weight_is_what_the_layer_multiplies_with(self, budget, layers):
        weights = DenseWeights(budget)
        for _ in range(2):
            for layer in layers:
                assert torch.equal(weights.of(layer), self.unpacked(layer))

    def test_without_room_nothing_is_kept(self, layers):
        weights = DenseWeights()
        assert weights.of(layers[0]) is not weights.of(layers[0])
        assert not weights.kept

    def test_what_is_not_kept_takes_one_place(self, layers):
        weights = DenseWeights()
        places = {weights.of(layer).data_ptr() for layer in (layers[1], layers[0], layers[2])}
        assert len(places) == 1
        assert weights.scratch.numel() == 128 * 64
        weights.clear()
        assert weights.scratch is None

    @pytest.mark.parametrize("nested", [False, True], ids=["scales", "scales in 8 bits"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_unpacking_in_parts_changes_no_bit(self, nested, dtype):
        functional = pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes").functional
        torch.manual_seed(0)
        layer = nn.Module()
        packed, state = functional.quantize_4bit(
            torch.randn(1100, 2048, dtype=dtype), quant_type="nf4", compress_statistics=nested
        )
        layer.weight = nn.Parameter(packed, requires_grad=False)
        layer.weight.quant_state = state
        assert torch.equal(DenseWeights().of(layer), functional.dequantize_4bit(packed, state))

    def test_what_fits_is_kept_and_no_more(self, layers):
        weights = DenseWeights(2 * 64 * 64 * 2 + 1)
        for _ in range(2):
            for layer in layers:
                weights.of(layer)
        assert list(weights.kept) == [layers[0], layers[2]]
        assert weights.of(layers[2]) is weights.of(layers[2])
        assert sum(weight.nbytes for weight in weights.kept.values()) <= 2 * 64 * 64 * 2
