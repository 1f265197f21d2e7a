"""Generation from the command line: which teacher, and what is said before and after."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, get_args
from urllib.parse import urlsplit

import tyro

from alpaca_lora.cli.conversation import text_flag
from alpaca_lora.config import SelfInstructConfig, Settings
from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.wording import printable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from alpaca_lora.selfinstruct import Preparation
    from alpaca_lora.teachers import Teacher

__all__ = ["LOCAL_MODEL", "GenerateOptions", "generate_records", "setting_flags"]

_RESUMABLE = 3
_OTHERS = ("answers", "judge")
_ENDPOINT_FLAGS = ("base_url", "completion", "api_key_env", "proxy", "deadline_seconds")
_URL = "@http"
LOCAL_MODEL = "smollm2-135m"


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

    _check_endpoint_flags(options)
    teacher = _teacher(options, options.model, options.base_url, options.api_key_env)
    answers, judge = _other(options, "answers"), _other(options, "judge")
    if options.dry_run:
        prepared = prepare_generation(teacher, options.output_dir, config=options.config, answers=answers, judge=judge)
        _print_lines(_render_plan(prepared))
        return 0
    result = generate_instructions(
        teacher,
        options.output_dir,
        config=options.config,
        answers=answers,
        judge=judge,
        progress=not options.quiet,
    )
    if options.quiet:
        print(result.records)
    else:
        _print_lines(render_generation(result.summary, output_dir=options.output_dir))
    if result.status != "completed":
        print(f"note: not complete ({result.status}); the same command goes on", file=sys.stderr)
    return 0 if result.status == "completed" else _RESUMABLE


def _check_endpoint_flags(options: GenerateOptions) -> None:
    """Refuse a local teacher with what only an endpoint takes: somebody else would be asked than was named."""
    named = [f"--{role} {given}" for role in _OTHERS if _URL in (given := getattr(options, role) or "")]
    flags = (*_ENDPOINT_FLAGS, *(f"{role}_api_key_env" for role in _OTHERS))
    given = [item.name for item in fields(options) if getattr(options, item.name) != item.default]
    named += [f"--{flag.replace('_', '-')}" for flag in flags if flag in given]
    if options.teacher == "local" and named:
        raise ConfigError(
            f"teacher 'local' is a model of this machine, so it has no use for {', '.join(named)}: add --teacher "
            "openai, or leave that out"
        )


def _teacher(options: GenerateOptions, model: str | None, base_url: str | None, api_key_env: str | None) -> "Teacher":
    if options.teacher == "local":
        from alpaca_lora.models import LocalTeacher

        return LocalTeacher(model or LOCAL_MODEL)
    from alpaca_lora.teachers import OPENAI_URL, OpenAITeacher

    if not model:
        raise ConfigError("teacher 'openai' needs a model: give its name at the endpoint (--model)")
    return OpenAITeacher(
        model,
        base_url=base_url or OPENAI_URL,
        chat=not options.completion,
        api_key_env=api_key_env,
        deadline_seconds=options.deadline_seconds,
        connections=options.config.concurrency,
        proxy=options.proxy,
    )


def _other(options: GenerateOptions, role: str) -> "Teacher | None":
    given = getattr(options, role)
    if given is None:
        return None
    model, found, rest = given.partition(_URL)
    base_url = f"http{rest}" if found else options.base_url
    return _teacher(options, model, base_url, _key_variable(options, role, base_url))


def _key_variable(options: GenerateOptions, role: str, base_url: str | None) -> str | None:
    """Return where the key for an endpoint is: that of the main one is sent to no other host."""
    from alpaca_lora.teachers.endpoint import OPENAI_URL, is_here

    own: str | None = getattr(options, f"{role}_api_key_env")
    if own is not None:
        return own
    url, main = base_url or OPENAI_URL, urlsplit(options.base_url or OPENAI_URL).netloc
    here, host = is_here(url), urlsplit(url).netloc
    if host == main:
        return options.api_key_env
    if here:
        return None
    raise ConfigError(
        f"--{role} asks {host}, and the key in {options.api_key_env} is for {main}, so it is not sent there: name the "
        f"variable that holds the key for {host} with --{role}-api-key-env"
    )


def _print_lines(text: str) -> None:
    """Print what a teacher or a seed task may have had its words in, line by line, so that none can hide another."""
    print("\n".join(map(printable, text.split("\n"))))


def _render_plan(prepared: "Preparation") -> str:
    from alpaca_lora.selfinstruct.summary import usd

    asked, worst, budget = prepared.writer.asked(0), prepared.worst_request, prepared.budget
    cost = f"{worst.tokens:,} tokens" + ("" if prepared.tasks.price is None else f", {usd(worst.usd)}")
    lines = [
        f"{prepared.config.num:,} rows, {', '.join(f'{role} by {model}' for role, model in prepared.models.items())}",
        f"a request for tasks costs at most {cost}",
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
