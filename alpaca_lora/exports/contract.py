"""What a merged model has to know about its making: the prompt it answers to, and what went into it.

An adapter carries this in its sidecar. A merged model has no sidecar, so it stands in `config.json` under
`alpaca_lora`, where every copy takes it along.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from alpaca_lora.errors import ModelError, TemplateError
from alpaca_lora.prompts import Prompter, Template

__all__ = ["CONTRACT_KEY", "Contract", "read_contract"]

CONTRACT_KEY = "alpaca_lora"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """The entry `alpaca_lora` of a merged model's `config.json`."""

    template: dict[str, str]
    """The whole prompt template."""

    template_sha256: str
    """Digest of the template's behaviour."""

    base_model: str
    """The base model's name as the user gave it."""

    base_fingerprint: str
    """Digest of the base model's weights, see `models.fingerprint`."""

    adapter_sha256: str
    """Digest of the adapter's weights file."""

    merged_into: str
    """`original` weights of the base, or the `dequantized` ones that the adapter was trained on."""

    stop_ids: tuple[int, ...]
    """Token ids that end an answer."""

    @property
    def prompter(self) -> Prompter:
        """Return what renders the prompt that the model was trained on."""
        return Prompter(Template.from_dict(self.template, self.template["name"]))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return dataclasses.asdict(self)


def read_contract(directory: Path) -> Contract:
    """Return the contract of a merged model.

    Raises:
        ModelError: the directory holds no merged model of ours, or its entry is damaged.
        TemplateError: the template is not the one that its digest says.
    """
    found = find_contract(directory)
    if found is None:
        raise ModelError(
            f"{str(directory)!r} is no merged model of alpaca-lora: its config.json has no {CONTRACT_KEY!r}"
        )
    return found


def find_contract(directory: Path) -> Contract | None:
    """Return the contract of a model directory; None where its `config.json` has none.

    Raises:
        ModelError: the entry is damaged.
        TemplateError: the template is not the one that its digest says.
    """
    path = directory / "config.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8")).get(CONTRACT_KEY)
        if document is None:
            return None
        contract = Contract(**{**document, "stop_ids": tuple(document["stop_ids"])})
        digest = contract.prompter.sha256
    except TemplateError:
        raise
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"{str(path)!r}: {CONTRACT_KEY!r} is damaged ({error}): merge again") from error
    if digest != contract.template_sha256:
        raise TemplateError(
            f"{str(path)!r}: the template has sha256 {digest[:12]}, but the contract says "
            f"{contract.template_sha256[:12]}: it was edited; merge again"
        )
    return contract
