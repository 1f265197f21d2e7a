"""The settings that say which teachers a run of generation asks."""

from typing import Annotated, Literal

from pydantic import Field

from alpaca_lora.config.sections import Settings

__all__ = ["TeacherSettings"]


class TeacherSettings(Settings):
    """Who writes the tasks, who answers them again, who judges them, and where the keys are."""

    teacher: Literal["local", "openai"] = "local"
    """`openai` is any OpenAI-compatible endpoint; `local` is a model of this machine, offline and free."""

    model: str | None = None
    """Model that writes the tasks: a name at the endpoint, or a local model, a directory or a Hub id. None:
    smollm2-135m for `local`; `openai` needs one."""

    base_url: str | None = None
    """The endpoint, up to and with /v1. None: OpenAI's own."""

    completion: bool = False
    """Use the endpoint's completions, which go on with a text, instead of chat."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; a local endpoint needs none."""

    proxy: str | None = None
    """Proxy on the way to the endpoint; those of the environment are not used. None: ask directly."""

    deadline_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest time for one attempt as a whole."""

    answers: str | None = None
    """MODEL or MODEL@URL that answers each new task again. None: the outputs that come with the tasks are taken."""

    judge: str | None = None
    """MODEL or MODEL@URL that judges each output; only those that it finds right are kept. None: nobody is asked."""

    answers_api_key_env: str | None = None
    """Variable with the key for the endpoint of `answers`. None: that of `api_key_env`, for the same host only."""

    judge_api_key_env: str | None = None
    """Variable with the key for the endpoint of `judge`. None: that of `api_key_env`, for the same host only."""
