"""On which architectures several records may share a row: whether each is kept from seeing those before it.

Off the kernels that is left to transformers, which makes the mask of a packed row from its position ids where a model's
code asks for it. Code with its own masks, with convolutions or with a state that runs along the row does not, and says
nothing: the second record of a row is then learned with the first in view.
"""

import json

from alpaca_lora.config import FinetuneConfig

__all__ = ["KEEPS_RECORDS_APART", "keeps_records_apart", "packing_fault"]

KEEPS_RECORDS_APART = frozenset({
    "apertus", "arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma3_text", "glm", "glm4",
    "gpt_neox", "granite", "granitemoe", "helium", "hunyuan_v1_dense", "llama", "ministral", "ministral3", "mistral",
    "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3",
    "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
})  # fmt: skip
"""Values of `model_type` whose records stay apart in transformers; a test looks at a model of each."""


def packing_fault(config: FinetuneConfig, model_type: str | None) -> str | None:
    """Return why records of a model may not share rows, where the settings ask for it.

    Args:
        config: the settings as given.
        model_type: of the base's config.json; None for a model that keeps them apart.
    """
    asked = "packed_length" if config.packed_length is not None else "packing" if config.packing else None
    if asked is None or keeps_records_apart(model_type):
        return None
    return (
        f"config.{asked} {json.dumps(getattr(config, asked))} puts several records into a row, and a {model_type!r} "
        "model is not known to keep them from seeing each other; set config.packing to false, and leave "
        "config.packed_length out"
    )


def keeps_records_apart(model_type: str | None) -> bool:
    """Tell whether a record in a packed row sees itself only."""
    return model_type is None or model_type in KEEPS_RECORDS_APART
