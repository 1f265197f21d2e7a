"""S2: fields of configurations that name code to be loaded, and code that lies beside a model."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts
from tests.attacks.victim import MARKER


def plant(directory: Path, parts: Parts, *names: str) -> None:
    """Write Python files that touch the canary when they are imported."""
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"'{MARKER}'\nopen({str(parts.canary)!r}, 'w').close()\n")


def changed(part: str, document: str, changes: dict):
    def make(directory: Path, parts: Parts) -> Path:
        target = parts.copy(part, directory, **{document: changes})
        plant(target, parts, "evil.py", "modeling_evil.py", "torch.py", "transformers.py", "sitecustomize.py")
        return target

    return make


_AUTO = {
    "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.T", None]}
}
_FIELDS = {
    "auto_map": _AUTO,
    "a Hub repository in auto_map": {"auto_map": {"AutoModelForCausalLM": "evil/repository--evil.Model"}},
    "custom_pipelines": {"custom_pipelines": {"x": {"impl": "evil.Pipeline", "pt": ["AutoModel"]}}},
    "_attn_implementation_internal": {"_attn_implementation_internal": "evil/kernel"},
    "attn_implementation": {"attn_implementation": "evil/kernel"},
    "a kernel in a nested configuration": {"text_config": {"_attn_implementation": "evil/kernel@main"}},
    "kernel_config": {"kernel_config": {"RMSNorm": "evil/kernel"}},
    "a quantisation by code": {"quantization_config": {"quant_method": "custom", "auto_map": {"x": "evil.Q"}}},
}
_ADAPTER = {
    "auto_mapping": {"auto_mapping": {"base_model_class": "Model", "parent_library": "evil"}},
    "megatron": {"megatron_config": {"x": 1}, "megatron_core": "evil"},
    "parent_library": {"parent_library": "evil"},
    "another kind of adapter": {"peft_type": "evil"},
}

ATTACKS = (
    *(
        Attack(f"config.json: {name}", "base", changed("base", "config", value), "config.json")
        for name, value in _FIELDS.items()
    ),
    Attack(
        "tokenizer_config.json: auto_map", "base", changed("base", "tokenizer_config", _AUTO), "tokenizer_config.json"
    ),
    Attack(
        "generation_config.json: auto_map",
        "base",
        changed("base", "generation_config", _AUTO),
        "generation_config.json",
    ),
    Attack(
        "a tokenizer class by name",
        "base",
        changed("base", "tokenizer_config", {"tokenizer_class": "evil.Tokenizer"}),
        refused=False,
    ),
    *(
        Attack(
            f"adapter_config.json: {name}",
            "adapter",
            changed("adapter", "adapter_config", value),
            "adapter_config.json|recipe",
        )
        for name, value in _ADAPTER.items()
    ),
    Attack(
        "the tokenizer of an adapter: auto_map",
        "adapter",
        changed("adapter", "tokenizer_config", _AUTO),
        "tokenizer_config.json",
    ),
)
