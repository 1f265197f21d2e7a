"""Everything about a run of generation that is known before the first call, and all reasons to refuse it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alpaca_lora import _runs
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._version import __version__
from alpaca_lora.config import SelfInstructConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.selfinstruct.calls import Limits, Priced
from alpaca_lora.selfinstruct.fewshot import TaskWriter
from alpaca_lora.selfinstruct.ledger import Booking, Budget
from alpaca_lora.selfinstruct.pricing import check_budget, check_teacher, price_teacher
from alpaca_lora.selfinstruct.profiles import Profile, find_profile
from alpaca_lora.selfinstruct.seeds import Seeds, load_seeds
from alpaca_lora.teachers import Teacher

__all__ = ["Preparation", "choose_profile", "list_deviations", "prepare_generation"]

_PUBLISHED_REQUIREMENTS = "c042d2a46d3bdc4fa4406deeed5951dc2dcd4ebf29ebf8237210c384f09b5b2d"
_PUBLISHED_SEEDS = "7779004fa198fdf27cf70a159363879d8a26c53329e11b436af17b3941875f48"
_PUBLISHED_MODEL = "text-davinci-003"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A run that can begin."""

    run_dir: Path
    config: SelfInstructConfig
    profile: Profile
    seeds: Seeds
    tasks: Priced
    answers: Priced | None
    judge: Priced | None

    @property
    def priced(self) -> list[Priced]:
        """Return the teachers, each once."""
        given = [priced for priced in (self.tasks, self.answers, self.judge) if priced is not None]
        return list({id(priced.teacher): priced for priced in given}.values())

    @property
    def models(self) -> dict[str, str]:
        """Return the models by role."""
        roles = {"tasks": self.tasks, "answers": self.answers, "judge": self.judge}
        return {role: priced.teacher.model for role, priced in roles.items() if priced is not None}

    @property
    def writer(self) -> TaskWriter:
        """Return what writes the requests."""
        config, chat = self.config, self.tasks.teacher.chat
        return TaskWriter(self.profile, self.seeds.tasks, config.seed, config.domain, chat=chat)

    @property
    def budget(self) -> Budget:
        """Return the caps."""
        return Budget.of(self.config)

    @property
    def limits(self) -> Limits:
        """Return how fast and how long teachers are asked."""
        return Limits.of(self.config)

    @property
    def worst_request(self) -> Booking:
        """Return what the first request for tasks may cost at most."""
        return self.tasks.booking(self.tasks.worst(self.writer.asked(0).request))

    @property
    def deviations(self) -> list[str]:
        """Return what differs from the generator that Stanford published, one sentence each."""
        teacher = self.tasks.teacher
        model = str(teacher.describe()["model"])
        return list_deviations(self.profile, self.seeds, self.config, model=model, chat=teacher.chat)

    def contract(self) -> Mapping[str, Any]:
        """Return what decides the rows, as JSON values; another session of the run must bring the same."""
        settings = self.config.model_dump(mode="json", exclude=set(self.config.free))
        roles = {"tasks": self.tasks, "answers": self.answers, "judge": self.judge}
        return {
            "kind": "generation",
            "config": settings,
            "teachers": {role: priced.teacher.describe() for role, priced in roles.items() if priced is not None},
            "seeds_sha256": self.seeds.sha256,
            "requirements_sha256": _sha256(self.profile.requirements),
            "environment": {_runs.LIBRARY: __version__, **_runs.environment()},
        }


def prepare_generation(
    teacher: Teacher,
    output_dir: str | Path,
    *,
    config: SelfInstructConfig | None = None,
    answers: Teacher | None = None,
    judge: Teacher | None = None,
) -> Preparation:
    """Return a run that can begin; nothing is written and nobody is asked.

    Raises:
        ConfigError: settings that cannot work together, no budget, an unknown price, or an unusable directory.
        RecordError: the seed tasks cannot be read.
    """
    config = SelfInstructConfig() if config is None else config
    if not isinstance(config, SelfInstructConfig):
        raise ConfigError(f"config must be a SelfInstructConfig, got {type(config).__name__}")
    for role, one in {"teacher": teacher, "answers": answers, "judge": judge}.items():
        if one is not None or role == "teacher":
            check_teacher(role, one)
    profile = choose_profile(config)
    if profile.form == "numbered" and (config.domain or answers or judge):
        raise ConfigError(
            f"profile {profile.name!r} knows no domain and no further pass: use profile 'modern', or leave out domain, "
            "answers and judge"
        )
    check_paths(output_dir=output_dir)
    path = None if config.seeds is None else Path(config.seeds)
    _runs.check_output_dir(Path(output_dir), base_dir=None, data=path)
    check_budget([one for one in (teacher, answers, judge) if one is not None], config)
    return Preparation(
        run_dir=Path(output_dir).expanduser().resolve(),
        config=config,
        profile=profile,
        seeds=load_seeds(path),
        tasks=price_teacher(teacher, config),
        answers=None if answers is None else price_teacher(answers, config),
        judge=None if judge is None else price_teacher(judge, config),
    )


def list_deviations(profile: Profile, seeds: Seeds, config: SelfInstructConfig, *, model: str, chat: bool) -> list[str]:
    """Return what differs from the generator that Stanford published, one sentence each.

    Args:
        profile: how tasks are asked for.
        seeds: the seed tasks.
        config: the settings.
        model: name of who writes the tasks.
        chat: whether it is asked as in a conversation.
    """
    found = list(profile.deviations())
    if model != _PUBLISHED_MODEL:
        found.append(f"model: published {_PUBLISHED_MODEL!r}, here {model!r}: it is no longer offered")
    if chat:
        found.append("endpoint: published completion, here chat: the prompt is one user message")
    found.append("logit_bias: published -100 for token 50256, here none: the number means that in one tokenizer only")
    if seeds.sha256 != _PUBLISHED_SEEDS:
        found.append(f"seed tasks: published seed_tasks.jsonl, here {seeds.name!r} ({len(seeds.tasks)})")
    if profile.form == "numbered" and _sha256(profile.requirements) != _PUBLISHED_REQUIREMENTS:
        found.append("requirements: published prompt.txt, here the same in other words; `requirements` takes the file")
    if config.novelty_threshold != 0.7 or config.novelty_with_input:
        what = "instruction and input" if config.novelty_with_input else "the instruction"
        found.append(f"novelty: published 0.7 on the instruction, here {config.novelty_threshold:g} on {what}")
    found.append(f"random numbers: published none fixed, here seed {config.seed}; answers are used in request order")
    return found


def choose_profile(config: SelfInstructConfig) -> Profile:
    """Return how tasks are asked for, with the user's own words where there are some.

    Raises:
        ConfigError: the file with the words cannot be read.
    """
    profile = find_profile(config.profile)
    return profile if config.requirements is None else replace(profile, requirements=_read(config.requirements))


def _read(path: str) -> str:
    try:
        return expanded(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"requirements {path!r} cannot be read: {error}") from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
