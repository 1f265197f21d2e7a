"""Every error that this library raises on purpose.

Each one is also a builtin, so that code which knows nothing of this library can still catch it:

    AlpacaLoraError (Exception)
    ├─ ConfigError (ValueError)             a setting, or a combination of settings, that cannot work
    ├─ RecordError (ValueError)             rows of a dataset; `.faults` lists every one with file and line
    ├─ TemplateError (ValueError)           a prompt template that cannot be used
    │  └─ UnknownTemplateError              no template has this name
    ├─ EncodingError (ValueError)           rows that cannot be trained on at this length
    ├─ ModelError (ValueError)              a base model or tokenizer that cannot be used
    │  └─ ModelNotFoundError                no base model at this path, in this cache or on the Hub
    ├─ AdapterError (RuntimeError)          an adapter directory that cannot be used
    │  ├─ EmptyAdapterError                 the file holds no tensor
    │  ├─ UntrainedAdapterError             a lora_B is all zero: that module still equals the base
    │  ├─ NonFiniteAdapterError             a tensor holds NaN or infinity
    │  ├─ UnknownKeysError                  tensors that fit no module of the base
    │  ├─ MissingKeysError                  modules of the adapter without their tensors
    │  ├─ WrongBaseError                    trained on another base model than this one
    │  └─ AdapterDriftError                 the saved adapter does not compute what the trained one did
    ├─ ExportError (RuntimeError)           a model that a format cannot hold, or an artefact that cannot be used
    │  └─ ParityError                       an artefact that does not compute what it was made from
    ├─ TeacherError (RuntimeError)          a teacher that cannot be asked
    │  ├─ TeacherRefusedError               it refused for good: a wrong key, an unknown model, a redirect
    │  └─ CoverageError                     a judge gave too few verdicts for a score; the same run goes on
    ├─ RunError (RuntimeError)              a run directory that is in use, foreign, or not resumable
    ├─ DiskFullError (OSError)              no room for what a run must write; older checkpoints are unharmed
    ├─ NonFiniteLossError (ArithmeticError) training produced NaN or infinity
    ├─ DivergenceError (ArithmeticError)    the loss rose far above where it began, and stayed there
    └─ MissingDependencyError (ImportError) an optional package is not installed

A message says what is wrong with the value, what is allowed, and what to do.
"""

__all__ = [
    "AdapterDriftError",
    "AdapterError",
    "AlpacaLoraError",
    "ConfigError",
    "CoverageError",
    "DiskFullError",
    "DivergenceError",
    "EmptyAdapterError",
    "EncodingError",
    "ExportError",
    "MissingDependencyError",
    "MissingKeysError",
    "ModelError",
    "ModelNotFoundError",
    "NonFiniteAdapterError",
    "NonFiniteLossError",
    "ParityError",
    "RecordError",
    "RunError",
    "TeacherError",
    "TeacherRefusedError",
    "TemplateError",
    "UnknownKeysError",
    "UnknownTemplateError",
    "UntrainedAdapterError",
    "WrongBaseError",
]


class AlpacaLoraError(Exception):
    """Base class of every error that this library raises on purpose."""


class ConfigError(AlpacaLoraError, ValueError):
    """A setting, or a combination of settings, cannot work; all faults are reported at once."""


class RecordError(AlpacaLoraError, ValueError):
    """Rows of a dataset cannot be read.

    Attributes:
        faults: one line per fault, `file:line` first; the message shows the first twenty.
    """

    faults: tuple[str, ...] = ()


class TemplateError(AlpacaLoraError, ValueError):
    """A prompt template cannot be used."""


class UnknownTemplateError(TemplateError):
    """No template has this name; the message lists those that exist."""


class EncodingError(AlpacaLoraError, ValueError):
    """Records cannot be turned into rows with at least one supervised token."""


class ModelError(AlpacaLoraError, ValueError):
    """A base model or tokenizer cannot be used."""


class ModelNotFoundError(ModelError):
    """There is no base model at this path, in this cache or on the Hub."""


class AdapterError(AlpacaLoraError, RuntimeError):
    """An adapter directory cannot be used."""


class EmptyAdapterError(AdapterError):
    """The adapter file holds no tensor."""


class UntrainedAdapterError(AdapterError):
    """A `lora_B` is all zero, so its module still computes what the base does."""


class NonFiniteAdapterError(AdapterError):
    """A tensor of the adapter holds NaN or infinity."""


class UnknownKeysError(AdapterError):
    """Tensors of the adapter fit no module of the base model."""


class MissingKeysError(AdapterError):
    """Modules that the adapter says it covers have no tensors in the file."""


class WrongBaseError(AdapterError):
    """The adapter was trained on another base model."""


class AdapterDriftError(AdapterError):
    """The adapter on disk does not compute what the trained one did."""


class ExportError(AlpacaLoraError, RuntimeError):
    """A format cannot hold this model, or an artefact cannot be used."""


class ParityError(ExportError):
    """An artefact does not compute what it was made from; a fault of the exporter, not of its input.

    Attributes:
        code: kind of fault, as `not-merged`; see `exports.diagnosis`.
        tensor: the first tensor that differs, None where weights are not the cause.
        shortfall: how far the logits are from what was asked for, where the weights are right; else empty.
    """

    def __init__(self, message: str, *, code: str = "", tensor: str | None = None, shortfall: str = "") -> None:
        super().__init__(message)
        self.code, self.tensor, self.shortfall = code, tensor, shortfall


class TeacherError(AlpacaLoraError, RuntimeError):
    """A teacher model cannot be asked."""


class TeacherRefusedError(TeacherError):
    """A teacher refused in a way that asking again cannot change: a wrong key, an unknown model, a redirect."""


class CoverageError(TeacherError):
    """A judge gave too few verdicts for a score; those that it gave are kept, and the same run asks for the others."""


class RunError(AlpacaLoraError, RuntimeError):
    """A run directory is in use, belongs to another run, or cannot be resumed."""


class NonFiniteLossError(AlpacaLoraError, ArithmeticError):
    """Training produced NaN or infinity and was stopped."""


class DivergenceError(AlpacaLoraError, ArithmeticError):
    """The loss stayed finite but rose far above where it began, and training was stopped."""


class DiskFullError(AlpacaLoraError, OSError):
    """The disk has no room for what a run must write; what was written before is unharmed."""


class MissingDependencyError(AlpacaLoraError, ImportError):
    """An optional package is not installed; the message holds the command that installs it."""
