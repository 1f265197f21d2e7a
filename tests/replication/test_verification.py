"""Untouched directories pass; no byte can be changed, no file removed, added or cut, without being named."""

import shutil

import pytest
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from alpaca_lora import verify
from alpaca_lora._seals import SEAL, list_files, seal
from alpaca_lora.errors import ConfigError, RunError

KINDS = ("generation", "curation", "evaluation")


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """A copy of a finished directory, which every test leaves as it was."""
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path_factory.mktemp("made") / request.param)


def state_of(directory):
    return {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in directory.rglob("*")}


def fault_of(directory):
    """What `verify` says first of a damaged directory, into which it does not look any further."""
    result = verify(directory, progress=False)
    assert [finding.check for finding in result.findings] == ["files", "contents"]
    assert result.findings[1].outcome == "not checked"
    return result.failure.found


def test_verifying_changes_nothing(made):
    before = state_of(made)
    assert verify(made, progress=False).passed
    assert state_of(made) == before


@given(data=st.data())
@of_hypothesis(max_examples=60)
def test_no_byte_of_any_file_can_be_changed(made, data):
    assert_named_when_flipped(made, data)


def assert_named_when_flipped(directory, data, fault=fault_of):
    name = data.draw(st.sampled_from([name for name in list_files(directory) if (directory / name).stat().st_size]))
    path = directory / name
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :])
    try:
        said = fault(directory)
    finally:
        path.write_bytes(content)
    assert said.startswith(f"{name} is not as it was written" if name == SEAL else f"{name} has changed")


def test_no_file_can_be_removed_added_or_cut(made):
    for name in list_files(made):
        path = made / name
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        cut = fault_of(made) if content else None
        path.unlink()
        removed = fault_of(made) if name != SEAL else verify(made, progress=False).failure.found
        path.write_bytes(content)
        added = path.with_name(f"{path.name}.bak")
        added.touch()
        assert fault_of(made).startswith(f"{added.relative_to(made).as_posix()} was added")
        added.unlink()
        assert removed.startswith(f"{name} is missing"), name
        assert cut is None or cut.startswith(name), name
    assert verify(made, progress=False).passed


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_is_named_and_not_followed(kind, request, copy_of, found_in, tmp_path):
    made = copy_of(request.getfixturevalue(kind))
    name = next(name for name in list_files(made) if name.endswith(".jsonl"))
    (made / name).rename(tmp_path / "elsewhere")
    (made / name).symlink_to(tmp_path / "elsewhere")
    assert found_in(made).failure.found.startswith(f"{name} is a link")
    (made / SEAL).unlink()
    found = found_in(made)
    assert found.failure.found.startswith(f"{name} is a link")
    assert list(found.outcomes) == ["files", "contents"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "[]", '{"a":' * 10**5, "\ud800", '{"kind": []}'])
def test_damaged_documents_are_one_error_each(kind, text, request, copy_of):
    """Whoever damaged them has sealed them anew; nothing may end in a traceback."""
    made = copy_of(request.getfixturevalue(kind))
    for path in [path for path in made.iterdir() if path.suffix in (".json", ".jsonl")]:
        content = path.read_bytes()
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        seal(made)
        found = verify(made, progress=False).failure
        assert (found is None) == (path.read_bytes() == content), path.name
        assert found is None or "\n" not in found.found
        path.write_bytes(content)


def test_what_is_not_ours_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no directory"):
        verify(tmp_path / "nothing")
    with pytest.raises(RunError, match="it holds nothing"):
        verify(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(RunError, match=r"is nothing that alpaca-lora wrote \(it holds thesis\.txt\)"):
        verify(tmp_path)
    (tmp_path / "run.json").write_text('{"kind": "world domination"}')
    with pytest.raises(RunError, match="of the kind 'world domination', which this version does not know"):
        verify(tmp_path)
    (tmp_path / "run.json").write_text('{"kind": "replication"}')
    with pytest.raises(RunError, match="has not ended"):
        verify(tmp_path)


def test_only_what_was_trained_can_be_trained_again(curation):
    with pytest.raises(ConfigError, match="holds a curation, and only a run of finetune can be trained again"):
        verify(curation, determinism=True)


def test_the_result_is_plain_data(curation):
    document = verify(curation, progress=False).to_json()
    assert (document["kind"], document["passed"]) == ("curation", True)
    assert document["findings"][0] == {
        "part": "2-curate",
        "check": "files",
        "outcome": "passed",
        "found": "11 files are as they were sealed",
    }


@pytest.mark.slow
@given(data=st.data())
@of_hypothesis(max_examples=60)
def test_no_byte_of_a_run_or_an_export_can_be_changed(replicated, data):
    assert_named_when_flipped(replicated / data.draw(st.sampled_from(["3-finetune", "5-export/hf"])), data)
