import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from alpaca_lora.kernels.lora_linear import lora_linear
from alpaca_lora.kernels.projections import DenseWeights, Projection, projection_of

WEIGHTS = DenseWeights()


def layers(outs=(20, 12, 12), *, size=16, rank=4, bias=False, dtype=torch.float32, adapted=None, **config):
    """Linear layers of PEFT with one input, whose adapters are not zero; only the `adapted` have one."""
    torch.manual_seed(0)
    names = [f"part{index}" for index in range(len(outs))]
    held = nn.ModuleDict({name: nn.Linear(size, out, bias=bias) for name, out in zip(names, outs, strict=True)})
    held.to(dtype).requires_grad_(False)
    targets = [names[index] for index in (range(len(outs)) if adapted is None else adapted)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=3 * rank, target_modules=targets, **config), held)
    for parameter in held.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float() + 0.2 * torch.randn(parameter.shape)
    return list(held.values())


def adapters_of(modules):
    return {
        f"{index}.{name}": parameter
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def run(function, x, modules, seed=3):
    """Outputs, and the gradients of the input and of every adapter under a fixed random weighting."""
    torch.manual_seed(seed)
    x = x.detach().requires_grad_()
    outputs = function(x)
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
    trained = adapters_of(modules)
    grads = torch.autograd.grad(outputs, [x, *trained.values()], weights)
    found = {f"out{index}": out.detach() for index, out in enumerate(outputs)}
    return found | dict(zip(["d x", *trained], grads, strict=True))


def kernel(modules, training=True):
    return lambda x: lora_linear(x, [projection_of(module, WEIGHTS) for module in modules], training)


def peft(modules, training=True):
    for module in modules:
        module.train(training)
    return lambda x: tuple(module(x) for module in modules)


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(30, 16)


SHAPES = {
    "one layer": {"outs": (20,)},
    "three layers": {},
    "biases": {"bias": True},
    "rank 1": {"rank": 1},
    "rslora": {"use_rslora": True},
    "ranks of their own": {"rank_pattern": {"part0": 2, "part1": 7}, "alpha_pattern": {"part1": 5}},
    "no adapter in the middle": {"adapted": (0, 2)},
    "an adapter in the middle only": {"adapted": (1,)},
    "biases without adapters beside": {"adapted": (2,), "bias": True},
}


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_float32_agrees_with_peft_to_the_mask_of_its_dropout(shape, dropout, x, relative_error):
    modules = layers(**shape, lora_dropout=dropout)
    assert relative_error(run(kernel(modules), x, modules), run(peft(modules), x, modules)) <= 1e-5


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_bf16_agrees_with_float32_and_keeps_master_gradients(dropout, relative_error, cosine):
    narrow = layers((96, 64), size=64, rank=8, bias=True, dtype=torch.bfloat16, lora_dropout=dropout)
    exact = layers((96, 64), size=64, rank=8, bias=True, lora_dropout=dropout)
    for module, other in zip(exact, narrow, strict=True):
        module.load_state_dict(other.state_dict())
    torch.manual_seed(1)
    x = torch.randn(200, 64).bfloat16()
    found, truth = run(kernel(narrow), x, narrow), run(peft(exact), x.float(), exact)
    assert relative_error(found, truth) <= 1e-2
    assert cosine(found, truth) > 0.999
    assert {found[name].dtype for name in adapters_of(narrow)} == {torch.float32}


def finite_difference_problem(bias, dropout, adapted):
    """Two layers in float64 as a function of input and adapters, with the same dropout mask at every call."""
    torch.manual_seed(0)
    linears = [nn.Linear(5, out, bias=bias, dtype=torch.float64).requires_grad_(False) for out in (4, 3)]
    shapes = [shape for out, yes in zip((4, 3), adapted, strict=True) if yes for shape in ((2, 5), (out, 2))]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((6, 5), *shapes)]

    def function(x, *adapters):
        torch.manual_seed(7)
        left = iter(adapters)
        projections = [
            Projection(linear, WEIGHTS, next(left), next(left), scale=1.7, dropout=dropout)
            if yes
            else Projection(linear, WEIGHTS)
            for linear, yes in zip(linears, adapted, strict=True)
        ]
        return lora_linear(x, projections, training=True)

    return function, inputs


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("adapted", [(True, True), (True, False), (False, True)])
def test_the_gradient_is_that_of_finite_differences_with_a_frozen_mask(bias, dropout, adapted):
    assert torch.autograd.gradcheck(*finite_difference_problem(bias, dropout, adapted))


def test_each_layer_draws_a_mask_of_its_own(x):
    first, second = layers((12, 12), lora_dropout=0.5)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(0)
    out = kernel([first, second])(x)
    assert not torch.allclose(*out)


def test_dropout_is_off_outside_of_training(x):
    modules = layers(lora_dropout=0.5)
    state = torch.get_rng_state()
    found = kernel(modules, training=False)(x)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found, peft(modules, training=False)(x))
    assert not torch.allclose(found[0], kernel(modules)(x)[0])


def test_what_is_not_trained_needs_no_gradient(x, relative_error):
    modules = layers(bias=True)
    expected = run(peft(modules), x, modules)
    outputs = kernel(modules)(x)
    weights = torch.Generator().manual_seed(5)
    loss = sum((out * torch.randn(out.shape, generator=weights)).sum() for out in outputs)
    loss.backward()
    assert (
        relative_error(
            {name: part.grad for name, part in adapters_of(modules).items()},
            {name: expected[name] for name in adapters_of(modules)},
        )
        <= 1e-5
    )
    assert x.grad is None
    assert all(module.get_base_layer().weight.grad is None for module in modules)


def test_an_output_that_is_not_used_costs_nothing_wrong(x, relative_error):
    modules = layers()
    grads = []
    for function in (kernel(modules), peft(modules)):
        leaf = x.clone().requires_grad_()
        function(leaf)[1].square().sum().backward()
        grads.append(leaf.grad)
    assert relative_error(*grads) <= 1e-5


def test_a_second_backward_pass_gives_the_same(x):
    modules = layers(lora_dropout=0.2)
    leaves = [x.clone().requires_grad_(), *adapters_of(modules).values()]
    loss = sum(out.square().sum() for out in kernel(modules)(leaves[0]))
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(loss, leaves)))
    assert torch.equal(leaves[0], x)
