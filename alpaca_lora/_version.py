"""The version of this library: the package, its wheel and every run directory read it here."""

__version__ = "0.1.0"
