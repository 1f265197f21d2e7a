"""The flags of alpaca-lora of 2023, so that an old command line still says what it means.

They were parsed by python-fire: names with underscores or hyphens, `--flag value` or `--flag=value`, a bare `--flag`
for True and `--noflag` for False. Each is translated and announced; one without a counterpart, with the reason.
"""

__all__ = ["translate"]

_RENAMED = {
    "base_model": "--base-model",
    "data_path": "--data",
    "output_dir": "--output-dir",
    "batch_size": "--batch-size",
    "micro_batch_size": "--micro-batch-size",
    "num_epochs": "--epochs",
    "learning_rate": "--learning-rate",
    "cutoff_len": "--max-length",
    "val_set_size": "--validation-size",
    "lora_r": "--lora.rank",
    "lora_alpha": "--lora.alpha",
    "lora_dropout": "--lora.dropout",
    "lora_target_modules": "--lora.target-modules",
    "prompt_template_name": "--template",
    "resume_from_checkpoint": "--resume",
}
_SWITCHES = {
    "train_on_inputs": ("--no-train-on-prompt", "--train-on-prompt"),
    "group_by_length": ("--no-group-by-length", "--group-by-length"),
}
_DROPPED = {
    "add_eos_token": "every answer is trained with its end-of-text token",
    "wandb_project": "set WANDB_PROJECT in the environment and give --report-to wandb",
    "wandb_run_name": "set WANDB_NAME in the environment and give --report-to wandb",
    "wandb_watch": "set WANDB_WATCH in the environment and give --report-to wandb",
    "wandb_log_model": "set WANDB_LOG_MODEL in the environment and give --report-to wandb",
}
_TODAY = {*_RENAMED.values(), *(flag for flags in _SWITCHES.values() for flag in flags)}
_BOOLEANS = {*_SWITCHES, "add_eos_token"}
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PRESET = "alpaca-lora-7b"


def translate(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return a command line of today and what to announce about it.

    Args:
        arguments: what follows `finetune`.

    Returns:
        The arguments with old flags replaced, and one sentence for each old flag that was met.
    """
    translated: list[str] = []
    announced: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        spelled, equals, value = argument.partition("=")
        name, negated = _recognise(spelled)
        if name is None:
            translated.append(argument)
            continue
        new, sentence = _replace(name, value if equals else _take_value(name, rest), negated=negated)
        translated += new
        announced.append(f"{spelled} {sentence}")
    if announced and not any(argument.partition("=")[0] == "--config" for argument in arguments):
        announced.append(f"what is not set has today's default; --config {_PRESET} has those of 2023")
    return translated, list(dict.fromkeys(announced))


def _recognise(spelled: str) -> tuple[str | None, bool]:
    """Return the name of an old flag, or None, and whether it is written as `--noflag`."""
    name = spelled.removeprefix("--").replace("-", "_")
    if not spelled.startswith("--") or spelled in _TODAY:
        return None, False
    if name.removeprefix("no") in _BOOLEANS:
        return name.removeprefix("no"), name not in _BOOLEANS
    return (name if name in _RENAMED or name in _DROPPED else None), False


def _take_value(name: str, rest: list[str]) -> str | None:
    """Remove from the rest the value that belongs to a flag; a switch has none, or a truth value."""
    if rest and (rest[0].lower() in _TRUTHS if name in _BOOLEANS else not rest[0].startswith("--")):
        return rest.pop(0)
    return None


def _replace(name: str, value: str | None, *, negated: bool) -> tuple[list[str], str]:
    if name in _DROPPED:
        return [], f"is ignored: {_DROPPED[name]}"
    if name in _SWITCHES:
        new = _SWITCHES[name][_TRUTHS.get((value or "true").lower(), True) != negated]
        return [new], f"is now {new}"
    new = _RENAMED[name]
    if value is None:
        return [new], f"is now {new}"
    return [new, *(_names(value) if name == "lora_target_modules" else [value])], f"is now {new}"


def _names(value: str) -> list[str]:
    """Open a list as it was written for python-fire: '[q_proj,v_proj]', with or without quotes inside."""
    names = (name.strip().strip("'\"") for name in value.strip().strip("[]()").split(","))
    return [name for name in names if name]
