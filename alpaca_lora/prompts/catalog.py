"""Find a template: a built-in one by its name, or a JSON file by its path.

The two never mix: a name is compared with the names of the packaged files and is not joined into a path, so
`../../etc/passwd` is merely an unknown name. A file is read only where the caller says so, with a `Path` or with a text
that ends in `.json`.
"""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from alpaca_lora.errors import TemplateError, UnknownTemplateError
from alpaca_lora.prompts.pattern import did_you_mean, shorten
from alpaca_lora.prompts.template import Template

__all__ = ["available_templates", "load_template"]

_BUILT_IN = resources.files(__package__) / "templates"
_ENDING = ".json"
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_LARGEST_BYTES = 65_536


def available_templates() -> tuple[str, ...]:
    """Return the names of the built-in templates, sorted.

    >>> available_templates()
    ('alpaca', 'alpaca_legacy', 'alpaca_short', 'vigogne')
    """
    files = (item.name for item in _BUILT_IN.iterdir())
    return tuple(sorted(name.removesuffix(_ENDING) for name in files if name.endswith(_ENDING)))


def load_template(source: str | Path) -> Template:
    """Load a built-in template by name, or one from a file.

    Args:
        source: a name of `available_templates()`; or a JSON file of at most 64 KiB, as a `Path` or as text ending in
            `.json`.

    Raises:
        UnknownTemplateError: there is no such name or file.
        TemplateError: the file is no JSON document, or its template cannot be used.
    """
    if isinstance(source, Path) or source.endswith(_ENDING):
        path = Path(source)
        return _parse(_read(path), path.name.removesuffix(_ENDING), str(path))
    if source not in available_templates():
        raise UnknownTemplateError(_unknown(source))
    file_name = source + _ENDING
    return _parse((_BUILT_IN / file_name).read_bytes(), source, file_name)


def _unknown(name: str) -> str:
    if _NAME.fullmatch(name):
        what = f"unknown template {name!r}"
    else:
        what = f"{shorten(name)!r} is no template name, which has 1 to 64 characters of a-z, 0-9, _ and -"
    return f"{what}{did_you_mean(name, available_templates()) or '.'} {_choice()}"


def _choice() -> str:
    return f"Built-in: {', '.join(available_templates())}. A path to a .json file also works."


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UnknownTemplateError(f"there is no template file {str(path)!r}. {_choice()}")
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise TemplateError(f"{str(path)!r} cannot be read ({error.strerror}). {_choice()}") from error
    if len(content) > _LARGEST_BYTES:
        raise TemplateError(
            f"{str(path)!r} is larger than {_LARGEST_BYTES} bytes, so it is no template; check the path"
        )
    return content


def _parse(content: bytes, name: str, shown: str) -> Template:
    if content.startswith(b"\xef\xbb\xbf"):
        raise TemplateError(f"{shown!r} begins with a byte order mark; save it as UTF-8 without one")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates)
        return Template.from_dict(document, name)
    except TemplateError as error:
        raise TemplateError(f"{shown}: {error}") from error
    except json.JSONDecodeError as error:
        raise TemplateError(
            f"{shown}:{error.lineno}:{error.colno}: not JSON ({error.msg}); correct the file"
        ) from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{shown}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise TemplateError(f"{shown}: nested too deeply; a template is one flat JSON object of texts") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise TemplateError(f"key {', '.join(map(repr, twice))} appears more than once; keep one")
    return document
