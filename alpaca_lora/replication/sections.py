"""What a recipe may say of each stage: the settings that the stage has by itself, under the same names.

What a stage gets from the one before it (its records, its adapter, its directory) is no setting here.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from alpaca_lora.config import EvaluationConfig, FinetuneConfig, JudgeConfig, SelfInstructConfig, TeacherSettings
from alpaca_lora.config.calling import CallSettings
from alpaca_lora.config.rules import as_tuple
from alpaca_lora.config.sections import Settings
from alpaca_lora.curation import CurationSettings
from alpaca_lora.curation.settings import Compare, Method
from alpaca_lora.models import EMBEDDED

__all__ = ["SECTIONS", "CurateSection", "EvaluateSection", "ExportSection", "FinetuneSection", "GenerateSection"]


def _config_of(section: Settings, kind: type[Settings], **given: object) -> dict[str, object]:
    """Return what a section says of the settings of a config, and nothing that it leaves open."""
    said = {name: getattr(section, name) for name in kind.model_fields if name in section.model_fields_set}
    return said | given


class GenerateSection(TeacherSettings, SelfInstructConfig):
    """The settings of `generate`: its teachers, and how many records in which way at what cost."""

    section: ClassVar[str] = "generate"
    free: ClassVar[frozenset[str]] = SelfInstructConfig.free - {"num"}

    @property
    def config(self) -> SelfInstructConfig:
        """Return the config of the stage."""
        return SelfInstructConfig(**_config_of(self, SelfInstructConfig))  # type: ignore[arg-type]


class CurateSection(Settings):
    """The settings of `curate`: thresholds, actions, and what else the records are kept apart from."""

    section: ClassVar[str] = "curate"
    free: ClassVar[frozenset[str]] = frozenset()

    thresholds: dict[str, float] = {}
    """Scores above which a rule's findings count, by rule."""

    actions: dict[str, str] = {}
    """`drop`, `fix`, `flag` or `off`, by rule."""

    compare: Compare = "task"
    """What makes records alike: instruction and input, or the instruction alone, as Stanford did."""

    method: Method = "exact"
    """How near duplicates are found: every pair by ROUGE-L, or MinHash, an estimate."""

    against: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Further sets that a model will be evaluated on; the one of `evaluate` is always among them."""

    column_map: dict[str, str] = {}
    """Which column of `data` is which field."""

    @property
    def config(self) -> CurationSettings:
        """Return the settings of the stage; they refuse rules and actions that do not exist."""
        return CurationSettings(
            thresholds=self.thresholds,
            actions=self.actions,  # type: ignore[arg-type]
            compare=self.compare,
            method=self.method,
        )


class FinetuneSection(FinetuneConfig):
    """The settings of `finetune`, with its base model."""

    section: ClassVar[str] = "finetune"
    free: ClassVar[frozenset[str]] = frozenset({"save_limit", "logging_steps", "report_to", "resume"})

    base_model: Annotated[str, Field(min_length=1)] = EMBEDDED
    """`smollm2-135m`, a directory, or a Hub id."""

    @property
    def config(self) -> FinetuneConfig:
        """Return the config of the stage."""
        return FinetuneConfig(**_config_of(self, FinetuneConfig))  # type: ignore[arg-type]


class EvaluateSection(EvaluationConfig, JudgeConfig):
    """The settings of `evaluate`: its set, its judge, and what decides the numbers."""

    section: ClassVar[str] = "evaluate"
    free: ClassVar[frozenset[str]] = CallSettings.free

    data: str | None = None
    """The set. None: the records that the run of `finetune` held out."""

    against: str | None = None
    """A third model: another adapter or run, a base model, or stored answers."""

    tasks: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Tasks of lm-evaluation-harness, or YAML files of your own."""

    judge: Literal["local", "openai"] | None = None
    """Who says which answer is better. None: nobody is asked."""

    judge_model: str | None = None
    """The judge's model. None: smollm2-135m for `local`; `openai` needs one."""

    base_url: str | None = None
    """The judge's endpoint. None: OpenAI's own."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the judge's key."""

    @property
    def config(self) -> EvaluationConfig:
        """Return the config of the stage."""
        return EvaluationConfig(**_config_of(self, EvaluationConfig))  # type: ignore[arg-type]

    @property
    def judge_config(self) -> JudgeConfig:
        """Return how the judge is asked."""
        return JudgeConfig(**_config_of(self, JudgeConfig, seed=self.seed))  # type: ignore[arg-type]

    @property
    def teacher(self) -> TeacherSettings:
        """Return the judge as a teacher."""
        return TeacherSettings(
            teacher=self.judge or "local", model=self.judge_model, base_url=self.base_url, api_key_env=self.api_key_env
        )


class ExportSection(Settings):
    """The settings of one `export`."""

    section: ClassVar[str] = "export"
    free: ClassVar[frozenset[str]] = frozenset({"llama_cpp"})

    format: str = "hf"
    """Name of a format, as `alpaca-lora export` takes it."""

    dtype: str | None = None
    """Number format of the weights. None: the format's usual one."""

    base: Literal["original", "dequantized", "auto"] = "auto"
    """Form of the base to merge into."""

    llama_cpp: str | None = None
    """Directory of an installed llama.cpp. None: LLAMA_CPP_DIR, then the PATH."""

    @property
    def folder(self) -> str:
        """Return the name of its directory."""
        return self.format if self.dtype is None else f"{self.format}-{self.dtype}"


SECTIONS: dict[str, type[Settings]] = {
    "generate": GenerateSection,
    "curate": CurateSection,
    "finetune": FinetuneSection,
    "evaluate": EvaluateSection,
    "export": ExportSection,
}
"""The stages of a recipe in the order in which they run, and the settings of each."""
