"""Import optional packages, or say which extra brings them."""

import importlib
from types import ModuleType

from alpaca_lora.errors import MissingDependencyError


def require(package: str, *, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: import name, dotted names allowed.
        extra: the extra of this library that installs it.

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"{package.split('.')[0]} is not installed: run  pip install 'alpaca-lora[{extra}]'", name=package
        ) from error
