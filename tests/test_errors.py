import builtins
import inspect
import re

import pytest

from alpaca_lora import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


def drawn(docstring):
    """The tree drawn in a docstring: each class with the names of its parent and of its builtin ('' for none)."""
    tree, ancestors = {}, []
    for bars, name, builtin in re.findall(r"^ {4}((?:[│├└─] *)*)(\w+Error)\b(?: \((\w+)\))?", docstring, re.MULTILINE):
        depth = len(bars) // 3
        ancestors[depth:] = [name]
        tree[name] = (ancestors[depth - 1] if depth else "", builtin)
    return tree


def actual(classes):
    """The tree that the classes form, as `drawn` reads it."""
    tree = {}
    for error in classes:
        own = [base.__name__ for base in error.__bases__ if base.__module__ == errors.__name__]
        foreign = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
        tree[error.__name__] = ("".join(own), "".join(foreign))
    return tree


def test_the_drawn_tree_is_the_tree():
    assert drawn(errors.__doc__) == actual(CLASSES)


def test_a_class_drawn_in_the_wrong_place_is_noticed():
    wrong = errors.__doc__.replace("│  └─ UnknownTemplateError", "├─ UnknownTemplateError   ")
    assert drawn(wrong).keys() == drawn(errors.__doc__).keys()
    assert drawn(wrong) != actual(CLASSES)


def test_every_error_of_the_module_is_exported_in_order():
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    assert errors.__all__ == sorted(defined)


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_is_ours_and_a_builtin(error):
    assert issubclass(error, errors.AlpacaLoraError)
    assert any(getattr(builtins, base.__name__, None) is base for base in error.__mro__)


@pytest.mark.parametrize("error", [error for error in CLASSES if error is not errors.AlpacaLoraError])
def test_an_error_can_be_caught_by_code_that_does_not_know_this_library(error):
    specific = {ArithmeticError, ImportError, OSError, RuntimeError, ValueError}
    assert len(specific & set(error.__mro__)) == 1


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_keeps_its_message(error):
    assert str(error("rank must be at least 1, got 0")) == "rank must be at least 1, got 0"


def test_a_record_error_has_no_faults_until_it_is_given_some():
    assert errors.RecordError("no records").faults == ()
