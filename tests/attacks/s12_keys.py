"""S12: answers, documents and rows that bring a key to light where it is written down or shown."""

from pathlib import Path

from tests.attacks.corpus import Attack, Parts

_BEHAVIOURS = (
    "error-400",
    "error-401",
    "error-403",
    "error-404",
    "error-429",
    "error-500",
    "header",
    "page",
    "text",
    "json",
)


def environment(directory: Path, parts: Parts) -> Path:
    """Return a document that asks for the environment in every syntax that is known for it."""
    path = directory / "settings.yaml"
    path.write_text(
        "report_to: [$HF_TOKEN]\nrun_name: ${HF_TOKEN}\nlearning_rate: {{ env.HF_TOKEN }}\nseed: %HF_TOKEN%\n"
    )
    return path


def home(directory: Path, parts: Parts) -> str:
    """Return a template that leads home."""
    return "~/.netrc.json"


ATTACKS = (
    *(
        Attack(
            f"an endpoint that echoes: {behaviour}",
            "endpoint",
            lambda directory, parts, behaviour=behaviour: parts.endpoint.url(behaviour),
            refused=False,
        )
        for behaviour in _BEHAVIOURS
    ),
    Attack("settings that name the environment", "settings", environment, "settings.yaml"),
    Attack("a template at home", "template", home, "template"),
)
