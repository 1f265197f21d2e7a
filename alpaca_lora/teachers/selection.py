"""From settings to teachers, for a command line and for a recipe alike: who is asked, and with whose key.

The local teacher needs torch, so whoever calls hands in how it is made.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from alpaca_lora.config import TeacherSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.teachers.endpoint import OPENAI_URL, OpenAITeacher, is_here
from alpaca_lora.teachers.protocol import Teacher

__all__ = ["LOCAL_MODEL", "Local", "Spell", "select_teachers"]

LOCAL_MODEL = "smollm2-135m"
_URL = "@http"
_OTHERS = ("answers", "judge")
_ENDPOINT = ("base_url", "completion", "api_key_env", "proxy", "deadline_seconds")

Local = Callable[[str], Teacher]
"""Makes a teacher of this machine from a model's name."""

Spell = Callable[[str], str]
"""Writes the name of a setting as the user does."""


def select_teachers(
    choice: TeacherSettings, *, local: Local, spell: Spell, connections: int, keyless: bool = False
) -> tuple[Teacher, Teacher | None, Teacher | None]:
    """Return who writes tasks, who answers them again and who judges, the last two where they are asked for.

    Args:
        choice: the settings.
        local: makes a teacher of this machine.
        spell: how the user writes the name of a setting, for messages.
        connections: kept open at most with each endpoint.
        keyless: whether endpoints may be without their keys, as for a plan that asks nobody.

    Raises:
        ConfigError: settings that nothing would read, no model, or a key that would go to another host.
        TeacherRefusedError: there is no key.
        ModelError: there is no such local model.
    """
    _refuse_idle(choice, spell)

    def make(model: str | None, base_url: str | None, api_key_env: str | None) -> Teacher:
        if choice.teacher == "local":
            return local(model or LOCAL_MODEL)
        if not model:
            raise ConfigError(f"teacher 'openai' needs a model: give its name at the endpoint ({spell('model')})")
        return OpenAITeacher(
            model,
            base_url=base_url or OPENAI_URL,
            chat=not choice.completion,
            api_key_env=api_key_env,
            deadline_seconds=choice.deadline_seconds,
            connections=connections,
            proxy=choice.proxy,
            keyless=keyless,
        )

    def other(role: str) -> Teacher | None:
        given = getattr(choice, role)
        if given is None:
            return None
        model, found, rest = given.partition(_URL)
        base_url = f"http{rest}" if found else choice.base_url
        return make(model, base_url, _key_variable(choice, role, base_url, spell))

    return make(choice.model, choice.base_url, choice.api_key_env), other("answers"), other("judge")


def _refuse_idle(choice: TeacherSettings, spell: Spell) -> None:
    """Refuse what nothing reads: a key for nobody, or a local teacher with what only an endpoint takes."""
    named = [f"{spell(role)} {given}" for role in _OTHERS if _URL in (given := getattr(choice, role) or "")]
    endpoint = (*_ENDPOINT, *(f"{role}_api_key_env" for role in _OTHERS))
    usual = TeacherSettings()
    named += [spell(name) for name in endpoint if getattr(choice, name) != getattr(usual, name)]
    if choice.teacher == "local" and named:
        raise ConfigError(
            f"teacher 'local' is a model of this machine, so it has no use for {', '.join(named)}: add "
            f"{spell('teacher')} openai, or leave that out"
        )
    for role in _OTHERS:
        if getattr(choice, role) is None and getattr(choice, f"{role}_api_key_env") is not None:
            name = spell(f"{role}_api_key_env")
            raise ConfigError(f"nobody is asked with {name}: add {spell(role)}, or leave that out")


def _key_variable(choice: TeacherSettings, role: str, base_url: str | None, spell: Spell) -> str | None:
    """Return where the key for an endpoint is: that of the main one is sent to no other host."""
    own: str | None = getattr(choice, f"{role}_api_key_env")
    if own is not None:
        return own
    url, main = base_url or OPENAI_URL, urlsplit(choice.base_url or OPENAI_URL).netloc
    here, host = is_here(url), urlsplit(url).netloc
    if host == main:
        return choice.api_key_env
    if here:
        return None
    raise ConfigError(
        f"{spell(role)} asks {host}, and the key in {choice.api_key_env} is for {main}, so it is not sent there: name "
        f"the variable that holds the key for {host} with {spell(f'{role}_api_key_env')}"
    )
