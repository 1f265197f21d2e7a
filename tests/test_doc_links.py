"""Links lead somewhere, tables have all there is, and the pages that the build fills are filled and say so."""

import importlib.util
import re
import tomllib

import pytest

import alpaca_lora
from alpaca_lora.cli.commands import COMMANDS
from alpaca_lora.config import FinetuneConfig, config_reference
from alpaca_lora.planning import available_presets
from alpaca_lora.replication.sections import SECTIONS
from tests.test_docs import BLOCK, DOCUMENTS, FLAGS, REPOSITORY, read


def anchors_of(name):
    """The headings of a document as links name them, those that the build makes too."""
    document = BLOCK.sub("", read(name))
    headings = re.findall(r"^#+ (.+)$", document, re.MULTILINE)
    for mark in re.findall(r"^<!-- generated: (\w+) -->$", document, re.MULTILINE):
        headings += {"presets": available_presets(), "commands": COMMANDS}.get(mark, ())
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def broken_links(name, document):
    """The links of a document to files, or to headings of documents, that do not exist."""
    folder = (REPOSITORY / name).parent
    links = re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", document))
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = folder / path if path else REPOSITORY / name
        if re.match("[a-z]+:", link):
            continue
        if not target.exists() or anchor and anchor not in anchors_of(target.resolve().relative_to(REPOSITORY)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("name", [*DOCUMENTS, "CONTRIBUTING.md"])
def test_every_link_resolves(name):
    assert broken_links(name, read(name)) == []


def test_a_broken_link_is_found():
    right = ["index.md", "https://example.org#no", "#extras", "reference/cli.md#exit-codes", "reference/cli.md#plan"]
    wrong = ["nowhere.md#there", "index.md#nowhere", "#nowhere", "reference/presets.md#alpaca-qlora-24"]
    assert broken_links("docs/index.md", " ".join(f"[a]({link})" for link in (*right, *wrong))) == wrong


def test_readme_names_every_preset():
    assert [name for name in available_presets() if f"`{name}`" not in read("README.md")] == []


def table_rows(name, first):
    """The rows of the table of a document whose head begins with this cell: its first cell and the others, as text."""
    (rows,) = re.findall(rf"^\| {first} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", read(name), re.MULTILINE)
    return [row.strip("|").split("|", 1) for row in rows.splitlines()]


def test_the_table_of_extras_has_all_that_users_install():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    named = [name.strip(" `") for name, _ in table_rows("docs/index.md", "Extra")]
    assert named == sorted(set(project["optional-dependencies"]) - {"dev", "docs"})


def test_the_table_of_a_recipe_has_every_setting_of_every_section():
    written = {
        name.split("`")[1]: set(re.findall(r"`(\w+)`", settings))
        for name, settings in table_rows("docs/how-to/replicate.md", "Section")
        if "`" in name
    }
    wanted = {name: set(section.model_fields) for name, section in SECTIONS.items()}
    wanted["generate"] -= {"proxy"}
    wanted["finetune"] = wanted["finetune"] - set(FinetuneConfig.model_fields) | {"preset", "resume"}
    assert written == wanted


def test_a_page_that_the_build_fills_says_so():
    made = re.compile("^:::|^<!-- generated", re.MULTILINE)
    said = re.compile("^<!-- generated: .* -->\n`make docs` fills", re.MULTILINE)
    pages = [name for name in DOCUMENTS if made.search(read(name))]
    assert len(pages) > 15
    assert [name for name in pages if not said.search(read(name))] == []


@pytest.fixture
def hooks():
    """The module that fills the reference pages."""
    spec = importlib.util.spec_from_file_location("hooks", REPOSITORY / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_setting_preset_and_command(hooks):
    page = hooks.on_page_markdown(
        "\n\n".join(f"<!-- generated: {name} -->" for name in ("settings", "presets", "commands"))
    )
    wanted = {*(f"| `{name}` |" for name, *_ in config_reference()), *(f"## {name}" for name in available_presets())}
    assert [text for text in (*wanted, *FLAGS["finetune"]) if text not in page] == []


def test_what_the_source_says_instead_is_left_out(hooks):
    assert hooks.on_page_markdown("a\n\n<!-- generated: docstrings -->\nSee\nthere.\n\n::: b\n") == "a\n\n\n\n::: b\n"


def test_an_unknown_mark_ends_the_build(hooks):
    with pytest.raises(KeyError):
        hooks.on_page_markdown("<!-- generated: weather -->")


def test_the_reference_names_everything_that_the_facade_exports():
    page = read("docs/reference/api/alpaca_lora.md")
    assert [name for name in alpaca_lora.__all__ if f"`{name}`" not in page] == []
