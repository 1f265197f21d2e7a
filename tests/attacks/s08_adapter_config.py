"""S8: adapter configurations whose names, patterns and numbers cost time or memory."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_SLOW = "([a-z._0-9]+)+!"
_CHANGES = {
    "a regular expression for modules": {"target_modules": _SLOW},
    "a regular expression among the names": {"target_modules": ["q_proj", _SLOW]},
    "names without end": {"target_modules": [f"x{n}" for n in range(100_000)]},
    "a regular expression for modules left out": {"exclude_modules": _SLOW},
    "a regular expression for ranks": {"rank_pattern": {_SLOW: 4}},
    "a regular expression for alphas": {"alpha_pattern": {_SLOW: 4}},
    "a rank of a million by pattern": {"rank_pattern": {"q_proj": 10**6}},
    "a regular expression for layers": {"layers_to_transform": [0], "layers_pattern": _SLOW},
    "layers copied without end": {"layer_replication": [[0, 2]] * 10**5},
    "a rank without end": {"r": 999_999},
    "a rank that is text": {"r": "8"},
    "a rank below zero": {"r": -1},
    "an alpha without end": {"lora_alpha": 1e9},
    "an alpha that is no number": {"lora_alpha": float("nan")},
    "a start that computes": {"init_lora_weights": "pissa_niter_1000000"},
    "a start from data": {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
    "a dropout of two": {"lora_dropout": 2},
    "modules to save": {"modules_to_save": _SLOW},
    "parameters by pattern": {"target_parameters": [_SLOW]},
    "a text of a megabyte": {"base_model_name_or_path": "x" * 10**6},
    "tokens without end": {"trainable_token_indices": list(range(10**6))},
}


def changed(changes: dict):
    return lambda directory, parts: parts.copy("adapter", directory, adapter_config=changes)


def downloads(directory: Path, parts: Parts) -> Path:
    target = parts.copy("adapter", directory, adapter_config={"base_model_name_or_path": "evil/base", "revision": "x"})
    (target / "alpaca_lora.json").unlink()
    return target


_ACCEPTED = ("a text of a megabyte", "a start that computes", "a start from data")

ATTACKS = (
    *(
        Attack(name, "adapter", changed(changes), r"adapter_config\.json|module|recipe", refused=name not in _ACCEPTED)
        for name, changes in _CHANGES.items()
    ),
    Attack("a base model that is downloaded", "adapter", downloads, refused=False),
)
