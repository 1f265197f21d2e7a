"""What an adapter has to know about its own training, beside what PEFT writes.

PEFT's files say which matrices to add, not to which weights, after which prompt, or how to tell that it still works.
The sidecar `alpaca_lora.json` does: the base's fingerprint, the text of the prompt template, the ids that end an
answer, and the losses on four fixed records that any later load must reproduce.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.adapters.probes import PROBES
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AdapterError
from alpaca_lora.prompts import Template

FILE_NAME = "alpaca_lora.json"
WEIGHTS = "adapter_model.safetensors"
_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The content of `alpaca_lora.json`."""

    base_model: str
    """The base model's name as the user gave it: embedded name, absolute path or Hub id."""

    base_fingerprint: str
    """Digest of the base model's weights, see `models.fingerprint`."""

    template: dict[str, str]
    """The whole prompt template, so that a renamed or edited one cannot slip in."""

    template_sha256: str
    """Digest of the template's behaviour."""

    data_sha256: str
    """Digest of the training data; empty where nobody knows it, as of an adapter of 2023."""

    precision: str
    """Number format of the base while training: bf16, fp16 or fp32."""

    quantization: dict[str, Any]
    """How the base was held while training."""

    max_length: int
    """Longest training row in tokens."""

    stop_ids: tuple[int, ...]
    """Token ids that end an answer."""

    base_losses: tuple[float, ...]
    """Loss of the base alone on each probe record."""

    losses: tuple[float, ...]
    """Loss of base and adapter together on each probe record."""

    weights_sha256: str = ""
    """Digest of the adapter's weights file; empty in sidecars of earlier versions, and until the file is written."""

    trained: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Versions, steps and the held-out loss, for a reader."""

    def prompt_template(self) -> Template:
        """Return the template that the adapter was trained with."""
        return Template.from_dict(self.template, self.template["name"])

    def write(self, directory: Path) -> None:
        """Write the sidecar into an adapter directory, with the digest of the weights that are there."""
        weights = directory / WEIGHTS
        sealed = dataclasses.replace(self, weights_sha256=_files.sha256_of(weights)) if weights.exists() else self
        _files.write_json(directory / FILE_NAME, {"format": _FORMAT, **dataclasses.asdict(sealed)})


def read_sidecar(directory: Path) -> Sidecar | None:
    """Return the sidecar of an adapter directory; None where there is none (an adapter made by another tool).

    Raises:
        AdapterError: the file is damaged or of a format that this version does not know.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != _FORMAT:
            raise AdapterError(f"{str(path)!r} is of a newer format: upgrade alpaca-lora")
        for name in ("stop_ids", "base_losses", "losses"):
            document[name] = tuple(document[name])
        Template.from_dict(document["template"], document["template"]["name"])
        QuantizationSettings(**document["quantization"])
        if not isinstance(document.get("weights_sha256", ""), str):
            raise ValueError("weights_sha256 is no text")
        if document["precision"] not in ("bf16", "fp16", "fp32") or len(document["losses"]) != len(PROBES):
            raise ValueError("precision or losses are not what this version writes")
        return Sidecar(**document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AdapterError(
            f"{str(path)!r} is damaged ({error}): copy the adapter again from where it was trained"
        ) from error
