"""What was made of other bytes than the stage before has now is not sealed with it."""

import re
import shutil

import pytest

from alpaca_lora.errors import RunError
from alpaca_lora.replication.recipe import replicate


def without_its_last_line(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def test_records_that_were_generated_anew_ask_for_a_new_curation(records, tmp_path, found_in):
    root = tmp_path / "run"
    replicate(records, root)
    without_its_last_line(root / "1-generate/records.jsonl")
    said = f"2-curate was not made from 1-generate/records.jsonl as it is now: delete 2-curate in {str(root)!r}, and"
    with pytest.raises(RunError, match=re.escape(said)):
        replicate(records, root)
    (root / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match=re.escape(said)):
        replicate(records, root)
    assert not (root / "SHA256SUMS").exists()
    shutil.rmtree(root / "2-curate")
    assert replicate(records, root).status == "completed"
    assert {item.outcome for item in found_in(root).result.findings if item.part == "2-curate"} == {"passed"}


def test_the_same_bytes_once_more_change_nothing(records, server, tmp_path, found_in):
    replicate(records, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/1-generate")
    assert replicate(records, tmp_path / "run").status == "completed"
    assert found_in(tmp_path / "run").failure is None


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
@pytest.mark.parametrize(
    ("change", "stale", "source"),
    [
        (
            lambda root, rewrite: without_its_last_line(root / "2-curate/curated.jsonl"),
            "3-finetune and 4-evaluate and 5-export",
            "2-curate/curated.jsonl",
        ),
        (
            lambda root, rewrite: (root / "3-finetune/adapter/adapter_model.safetensors").write_bytes(b"other"),
            "4-evaluate and 5-export",
            "3-finetune/adapter/adapter_model.safetensors",
        ),
        (
            lambda root, rewrite: rewrite(root / "5-export/hf/parity.json", lambda it: it.update(adapter_sha256="0")),
            "5-export",
            "3-finetune/adapter/adapter_model.safetensors",
        ),
        (
            lambda root, rewrite: (root / "2-curate/curated.jsonl").unlink(),
            "3-finetune and 4-evaluate and 5-export",
            "2-curate/curated.jsonl",
        ),
    ],
)
def test_every_stage_that_has_to_be_done_again_is_named(carried_out, copy_of, rewrite, change, stale, source):
    root = copy_of(carried_out.root)
    change(root, rewrite)
    said = f"{stale.partition(' ')[0]} was not made from {source} as it is now: delete {stale} in "
    with pytest.raises(RunError, match=re.escape(said)):
        replicate(carried_out.recipe, root)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_a_run_that_has_not_ended_is_of_the_same_records_too(carried_out, copy_of):
    root = copy_of(carried_out.root)
    (root / "3-finetune/COMPLETE").unlink()
    without_its_last_line(root / "2-curate/curated.jsonl")
    with pytest.raises(RunError, match="delete 3-finetune and 4-evaluate and 5-export in"):
        replicate(carried_out.recipe, root)
