"""Generation from the command line: which teacher, and what is said before and after."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, get_args

import tyro

from alpaca_lora.cli.conversation import text_flag
from alpaca_lora.config import SelfInstructConfig, Settings, TeacherSettings
from alpaca_lora.reporting.wording import printable
from alpaca_lora.teachers.selection import LOCAL_MODEL, select_teachers

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from alpaca_lora.selfinstruct import Preparation
    from alpaca_lora.teachers import Teacher

__all__ = ["GenerateOptions", "generate_records", "local_teacher", "setting_flags"]

_RESUMABLE = 3


def _flag(info: "FieldInfo") -> Any:
    """Return a setting as a flag of its bare type: what it may be is for the config to say."""
    default = "none" if info.default is None else info.default if info.default != "" else "none"
    hint = tyro.conf.arg(help=" ".join((info.description or "").split()), help_behavior_hint=f"(default: {default})")
    choices = get_args(info.annotation)
    return Annotated[choices[0] if NoneType in choices else info.annotation, hint]


def setting_flags(config: type[Settings], omit: Sequence[str] = ()) -> Any:
    """Return the settings of a config as a type from which flags are made; those that are not given are not in it."""
    kinds = {name: _flag(info) for name, info in config.model_fields.items() if name not in omit}
    make: Any = TypedDict
    return make(f"{config.__name__}Flags", kinds, total=False)


_SETTINGS: Any = setting_flags(SelfInstructConfig)


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """The flags of `generate`: the teacher, and every setting of `SelfInstructConfig`."""

    teacher: Literal["local", "openai"] = "local"
    """`openai` is any OpenAI-compatible endpoint; `local` is a model of this machine, offline and free."""

    output_dir: Annotated[str, tyro.conf.arg(metavar="DIR")] = "runs/generated"
    """Run directory: new, empty, or that of the run to go on with."""

    model: Annotated[str | None, text_flag("NAME", f"{LOCAL_MODEL} for local; openai needs one")] = None
    """Model that writes the tasks: a name at the endpoint, or a local model, a directory or a Hub id."""

    base_url: Annotated[str | None, text_flag("URL", "https://api.openai.com/v1")] = None
    """The endpoint, up to and with /v1: http://localhost:11434/v1 for Ollama, http://localhost:8000/v1 for vLLM."""

    completion: tyro.conf.FlagCreatePairsOff[bool] = False
    """Use the endpoint's completions, which go on with a text, instead of chat."""

    api_key_env: Annotated[str, tyro.conf.arg(metavar="NAME")] = "OPENAI_API_KEY"
    """Environment variable that holds the key; a local endpoint needs none."""

    proxy: Annotated[str | None, text_flag("URL", "none")] = None
    """Proxy on the way to the endpoint; those of the environment are not used."""

    deadline_seconds: float = 300.0
    """Longest time for one attempt as a whole."""

    answers: Annotated[str | None, text_flag("MODEL[@URL]", "the outputs that come with the tasks")] = None
    """Let this model answer each new task, in place of the output that came with it."""

    judge: Annotated[str | None, text_flag("MODEL[@URL]", "none")] = None
    """Let this model judge each output, and keep only those that it finds right."""

    answers_api_key_env: Annotated[str | None, text_flag("NAME", "that of --api-key-env, for the same host only")] = (
        None
    )
    """Environment variable that holds the key for the endpoint of --answers; one on another host needs its own."""

    judge_api_key_env: Annotated[str | None, text_flag("NAME", "that of --api-key-env, for the same host only")] = None
    """Environment variable that holds the key for the endpoint of --judge; one on another host needs its own."""

    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show the first request, what it may cost and what differs from the published recipe; ask nobody."""

    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress and no summary, only the path of the records."""

    settings: tyro.conf.OmitArgPrefixes[_SETTINGS]
    """What is made, how fast, and at what cost."""

    @property
    def config(self) -> SelfInstructConfig:
        """Return the settings that were given, checked; all faults at once."""
        return SelfInstructConfig(**self.settings)


def generate_records(options: GenerateOptions) -> int:
    """Run one session of generation, and return 0 when it is complete, 3 when the same command can go on."""
    from alpaca_lora.selfinstruct import generate_instructions, prepare_generation, render_generation
    from alpaca_lora.selfinstruct.summary import CHANGES

    config = options.config
    teacher, answers, judge = select_teachers(
        TeacherSettings(**{name: getattr(options, name) for name in TeacherSettings.model_fields}),
        local=local_teacher,
        spell=lambda name: f"--{name.replace('_', '-')}",
        connections=config.concurrency,
        keyless=options.dry_run,
    )
    if options.dry_run:
        prepared = prepare_generation(teacher, options.output_dir, config=config, answers=answers, judge=judge)
        _print_lines(_render_plan(prepared))
        return 0
    result = generate_instructions(
        teacher,
        options.output_dir,
        config=config,
        answers=answers,
        judge=judge,
        progress=not options.quiet,
    )
    if options.quiet:
        print(result.records)
    else:
        _print_lines(render_generation(result.summary, output_dir=options.output_dir))
    if result.status != "completed":
        change = CHANGES.get(result.status, "")
        print(f"note: not complete ({result.status}): go on with the same command{change}", file=sys.stderr)
    return 0 if result.status == "completed" else _RESUMABLE


def local_teacher(model: str) -> "Teacher":
    """Return a model of this machine as a teacher; only then is the training stack loaded."""
    from alpaca_lora.models import LocalTeacher

    return LocalTeacher(model)


def _print_lines(text: str) -> None:
    """Print what a teacher or a seed task may have had its words in, line by line, so that none can hide another."""
    print("\n".join(map(printable, text.split("\n"))))


def _render_plan(prepared: "Preparation") -> str:
    from alpaca_lora.selfinstruct.summary import usd

    asked, worst, budget = prepared.writer.asked(0), prepared.worst_request, prepared.budget
    cost = f"{worst.tokens:,} tokens" + ("" if prepared.tasks.price is None else f", {usd(worst.usd)}")
    lines = [
        f"{prepared.config.num:,} rows, {', '.join(f'{role} by {model}' for role, model in prepared.models.items())}",
        f"the first request for tasks costs at most {cost}",
    ]
    if budget.usd is not None and worst.usd:
        lines.append(f"a budget of {usd(budget.usd)} holds {int(budget.usd / worst.usd):,} such requests at least")
    if budget.tokens is not None:
        lines.append(f"a budget of {budget.tokens:,} tokens holds {budget.tokens // worst.tokens:,} at least")
    lines += [
        "--pilot 5 asks for five and forecasts the whole; their answers are kept",
        "",
        f"profile {prepared.profile.name}, what differs from the published generator:",
        *(f"- {text}" for text in prepared.deviations),
        "",
        "the first request:",
        asked.request.prompt + asked.request.opening,
    ]
    return "\n".join(lines)
