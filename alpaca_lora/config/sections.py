"""The sections of a config: adapter, quantisation, kernels."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from alpaca_lora.config.faults import config_error
from alpaca_lora.config.rules import module_names


class Settings(BaseModel):
    """What all settings have in common: frozen, strict, and refused with every fault at once."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    section: ClassVar[str] = "config"
    """What messages write before the name of a setting."""

    if not TYPE_CHECKING:  # type checkers keep the signature that pydantic derives from the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise config_error(type(self), values, error) from error

        # Sections inside a config are still validated by pydantic itself, which knows where they stand.
        __init__.__pydantic_base_init__ = True


class LoraSettings(Settings):
    """The adapter: which modules get low-rank matrices, and how they start."""

    section: ClassVar[str] = "config.lora"

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Width of the two matrices, 1 to 1024."""

    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update, at most 64 x rank: it is multiplied by alpha / rank, or alpha / sqrt(rank) with rslora."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of zeroing an input of the adapter while training, in [0, 1)."""

    target_modules: Annotated[Literal["all-linear"] | tuple[str, ...], BeforeValidator(module_names)] = "all-linear"
    """Plain names of the linear layers to adapt; `all-linear` is every one but the output head."""

    rslora: bool = False
    """Scale by alpha / sqrt(rank), which keeps high ranks stable (arXiv 2312.03732)."""

    dora: bool = False
    """Train direction and magnitude apart (arXiv 2402.09353): slower, sometimes better at low rank."""

    init: Literal["default", "pissa", "loftq"] = "default"
    """How the matrices start: zero update, principal components (PiSSA, arXiv 2404.02948, not with nf4), or LoftQ
    (arXiv 2310.08659, only with nf4)."""


class QuantizationSettings(Settings):
    """How the frozen base model is held in memory."""

    section: ClassVar[str] = "config.quantization"

    method: Literal["none", "nf4"] = "none"
    """`nf4` holds linear layers in 4 bits (QLoRA, arXiv 2305.14314); `none` keeps the precision below."""

    double_quantization: bool = True
    """Quantise the scales too: saves about 0.4 bits per parameter. Only with nf4."""


class KernelSettings(Settings):
    """The parts of the fast path, each of which can be replaced by what transformers, PEFT and torch do."""

    section: ClassVar[str] = "config.kernels"

    enabled: bool = True
    """Run the whole model without any of them when off."""

    shared_prefixes: bool = True
    """Compute once what records of a batch have in common at their beginning, as a template's preamble. On a CPU, and
    without dropout of adapters or noise on embeddings, which are drawn for each record."""

    attention: bool = True
    """Attend within packed records only, instead of masking all pairs of tokens of a row."""

    lora: bool = True
    """Linear layers and their adapters as one operation."""

    loss: bool = True
    """Output head and loss in blocks, with the gradient made in the forward pass."""

    norm: bool = True
    """RMSNorm in two passes over the data."""

    rope: bool = True
    """Rotary positions in place."""

    swiglu: bool = True
    """SwiGLU with a backward pass that allocates one tensor."""

    compiled: bool | None = None
    """Compile norm, rope and swiglu with torch's Inductor. None: on a CPU with a C++ compiler, for runs long enough."""

    checkpointed_layers: Annotated[int, Field(ge=0)] | None = None
    """Layers, from the first on, that gradient_checkpointing computes again: fewer are faster and take more memory.
    None: all of them, or as many as the plan needs where gradient_checkpointing is decided too."""

    nf4_cache_gib: Annotated[float, Field(ge=0, le=10_000)] | None = None
    """GiB that unpacked copies of 4-bit weights may take. None: decided from the memory of the machine, 0 on CUDA."""
