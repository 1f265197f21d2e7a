"""What a teacher costs, and whether the caps of a run can hold: known before the first call."""

from collections.abc import Sequence
from typing import Any

from alpaca_lora.config.calling import CallSettings
from alpaca_lora.errors import ConfigError
from alpaca_lora.selfinstruct.calls import Priced
from alpaca_lora.teachers import FREE, Teacher, default_price_file, find_price

__all__ = ["check_budget", "check_teacher", "price_teacher"]


def check_teacher(role: str, teacher: Any) -> None:
    """Refuse what is no teacher, as a model's name.

    Raises:
        ConfigError: it cannot be asked.
    """
    if not hasattr(teacher, "most_prompt_tokens"):
        raise ConfigError(f"{role} must be an OpenAITeacher, a LocalTeacher or another Teacher, got {teacher!r}")


def check_budget(teachers: Sequence[Teacher], settings: CallSettings) -> None:
    """Refuse to ask teachers that cost something without a cap.

    Raises:
        ConfigError: there is no budget.
    """
    if settings.budget_usd is None and settings.budget_tokens is None and not all(one.free for one in teachers):
        raise ConfigError(
            "no budget: give budget_usd or budget_tokens (--budget-usd, --budget-tokens); 'local' needs none"
        )


def price_teacher(teacher: Teacher, settings: CallSettings) -> Priced:
    """Return a teacher with what its tokens cost.

    Raises:
        ConfigError: a cap in dollars cannot hold, as the price is not known.
    """
    if teacher.free:
        return Priced(teacher, FREE)
    price = find_price(teacher.model, settings.prices)
    if price is None and settings.budget_tokens is None:
        file = settings.prices or default_price_file()
        raise ConfigError(
            f"the price of {teacher.model!r} is not known, so budget_usd cannot hold: write it into {str(file)!r} as "
            f'{{"{teacher.model}": {{"input": 0.15, "output": 0.6}}}}, in US dollars per million tokens; or cap '
            "budget_tokens (--budget-tokens)"
        )
    if price is None and settings.budget_usd is not None:
        raise ConfigError(
            f"the price of {teacher.model!r} is not known, so budget_usd cannot hold: leave it out, keep budget_tokens"
        )
    return Priced(teacher, price)
