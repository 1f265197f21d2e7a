"""The shape of a model: every number that memory and time of its training depend on, from config.json alone.

No weights are read or fetched. A name stands for the config.json that its makers published, so that the first question
of all, whether it fits, needs no network.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from alpaca_lora._paths import expanded
from alpaca_lora.errors import ModelError, ModelNotFoundError

__all__ = [
    "ModelShape",
    "available_shapes",
    "config_of",
    "is_hub_id",
    "not_on_hub",
    "refuse_quantised",
    "shape_from",
    "shape_of",
]

_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
)
_NAMED = {
    "llama-2-7b": ("llama", 4096, 11008, 32, 32, 32, 32000, 4096),
    "llama-3-8b": ("llama", 4096, 14336, 32, 32, 8, 128256, 8192),
    "mistral-7b": ("mistral", 4096, 14336, 32, 32, 8, 32000, 32768),
    "qwen2.5-7b": ("qwen2", 3584, 18944, 28, 28, 4, 152064, 32768),
    "qwen2.5-0.5b": ("qwen2", 896, 4864, 24, 14, 2, 151936, 32768),
    "smollm2-135m": ("llama", 576, 1536, 30, 9, 3, 49152, 8192),
    "smollm2-360m": ("llama", 960, 2560, 32, 15, 5, 49152, 8192),
    "tinyllama-1.1b": ("llama", 2048, 5632, 22, 32, 4, 32000, 2048),
}
"""model_type and the values of `_KEYS`, as in the config.json of each on the Hub."""

_TIED = ("qwen2.5-0.5b", "smollm2-135m", "smollm2-360m")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions of a decoder of the Llama family."""

    name: str
    model_type: str
    """As `llama`, `mistral` or `qwen2`."""

    width: int
    """Size of the residual stream."""

    inner: int
    """Size of the feed-forward layers."""

    layers: int
    heads: int
    """Query heads."""

    key_heads: int
    """Key and value heads; fewer than query heads where those share."""

    head_size: int
    vocabulary: int
    tied: bool
    """Whether the output head is the embedding."""

    attention_bias: bool
    positions: int | None
    """Longest text that the model was made for, in tokens."""

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Return name and (out, in) of each linear layer of a decoder layer."""
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        return {
            "q_proj": (queries, self.width),
            "k_proj": (keys, self.width),
            "v_proj": (keys, self.width),
            "o_proj": (self.width, queries),
            "gate_proj": (self.inner, self.width),
            "up_proj": (self.inner, self.width),
            "down_proj": (self.width, self.inner),
        }

    @property
    def linear_parameters(self) -> int:
        """Return the weights of all linear layers but the output head."""
        return self.layers * sum(out * size for out, size in self.linears.values())

    @property
    def embedding_parameters(self) -> int:
        """Return the weights of the embedding, and of the output head where it is one of its own."""
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def small_parameters(self) -> int:
        """Return the weights of norms and the biases of the attention."""
        biases = self.layers * (self.heads + 2 * self.key_heads) * self.head_size if self.attention_bias else 0
        return (2 * self.layers + 1) * self.width + biases


def available_shapes() -> tuple[str, ...]:
    """Return the names that stand for a published config.json."""
    return tuple(sorted(_NAMED))


def shape_of(model: str | Path) -> ModelShape:
    """Return the shape of a base model; no weights are read, and of a Hub id only config.json is fetched.

    Args:
        model: a name of `available_shapes`, a directory, or a Hub id `org/name`, optionally `org/name@revision`.

    Raises:
        ModelNotFoundError: there is no such name, directory or Hub id.
        ConfigError: it is a path that cannot be one, see `expanded`.
        ModelError: its config.json is damaged, or lacks what a decoder of the Llama family has.
    """
    return shape_from(config_of(model), str(model))


def config_of(model: str | Path) -> dict[str, Any]:
    """Return the config.json of a base model, as `shape_of` finds it.

    Raises:
        ModelNotFoundError: there is no such name, directory or Hub id.
        ConfigError: it is a path that cannot be one, see `expanded`.
        ModelError: its config.json is damaged.
    """
    name = str(model)
    if name in _NAMED:
        kind, *numbers = _NAMED[name]
        values: dict[str, Any] = dict(zip(_KEYS, numbers, strict=True))
        return {"model_type": kind, "tie_word_embeddings": name in _TIED, **values}
    path = expanded(name)
    local = path / "config.json" if path.is_dir() else path
    if not local.is_file():
        if not is_hub_id(name):
            raise ModelNotFoundError(
                f"no model {name!r}: give a directory with config.json, a Hub id like 'org/name', or one of "
                f"{', '.join(available_shapes())}"
            )
        local = _fetched(name)
    try:
        document = json.loads(local.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{str(local)!r} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{str(local)!r} must hold an object, found {type(document).__name__}")
    return document


def shape_from(config: Mapping[str, Any], name: str) -> ModelShape:
    """Return the shape that the content of a config.json describes.

    Raises:
        ModelError: numbers are missing or not positive, it is quantised already, or a mixture of experts.
    """
    refuse_quantised(config, name)
    values = {key: value for key, value in config.items() if value is not None}  # null is as good as nothing
    values.setdefault("num_key_value_heads", values.get("num_attention_heads"))
    needed = (*_KEYS[:-1], *("head_dim",) * ("head_dim" in values))
    wrong = [key for key in needed if type(values.get(key)) is not int or values[key] < 1]
    if wrong:
        shown = ", ".join(f"{key} {values.get(key)!r}" for key in wrong)
        raise ModelError(
            f"the config.json of {name!r} is none of a Llama-type decoder: {shown}. A plan needs whole numbers "
            f"from 1 up in {', '.join(needed)}"
        )
    if any("expert" in key for key in config):
        raise ModelError(f"{name!r} is a mixture of experts, which no plan is made for; give a dense model")
    positions = config.get("max_position_embeddings")
    return ModelShape(
        name=name,
        model_type=str(config.get("model_type")),
        width=values["hidden_size"],
        inner=values["intermediate_size"],
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        key_heads=values["num_key_value_heads"],
        head_size=values.get("head_dim", values["hidden_size"] // values["num_attention_heads"]),
        vocabulary=values["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        attention_bias=bool(config.get("attention_bias", config.get("model_type") == "qwen2")),
        positions=positions if type(positions) is int else None,
    )


def refuse_quantised(config: Mapping[str, Any], name: str) -> None:
    """Refuse a model whose files hold quantised weights: transformers would keep them so, whatever the settings say.

    Args:
        config: content of its config.json.
        name: what it is called.

    Raises:
        ModelError: it is one.
    """
    if held := config.get("quantization_config"):
        method = held.get("quant_method", "unknown") if isinstance(held, dict) else held
        raise ModelError(
            f"the config.json of {name!r} has quantization_config ({str(method)[:40]!r}), so it is quantised already: "
            "give the 16-bit model that it was made from; config.quantization 'nf4' holds that in 4 bits"
        )


def _fetched(name: str) -> Path:
    """Return the config.json of a Hub id, from the cache where the network is off or away."""
    hub, errors = import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    repository, _, revision = name.partition("@")
    failures = (errors.HfHubHTTPError, errors.HFValidationError, errors.LocalEntryNotFoundError, OSError)
    try:
        return Path(hub.hf_hub_download(repository, "config.json", revision=revision or None))
    except failures as error:
        raise not_on_hub(
            f"the config.json of {name!r}", error, f"a local directory, or one of {', '.join(available_shapes())}"
        ) from error


def is_hub_id(name: str) -> bool:
    """Tell whether a name can be that of a repository on the Hub, and is no path."""
    return not name.startswith((".", "/", "~")) and name.count("/") == 1 and "\\" not in name


def not_on_hub(what: str, error: Exception, instead: str) -> ModelNotFoundError:
    """Return what is said of a model that the Hub did not give.

    Args:
        what: was asked for.
        error: of the Hub's client.
        instead: what does without network.
    """
    return ModelNotFoundError(
        f"cannot get {what} from the Hub ({type(error).__name__}). Check the spelling; for a gated model accept its "
        f"terms and set HF_TOKEN; without network give {instead}"
    )
