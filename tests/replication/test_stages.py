"""A stage is finished when it is sealed, and one that was cut short before that is completed by its own verb."""

import json
import shutil

import pytest

from alpaca_lora.replication.recipe import replicate


def test_records_that_were_not_sealed_yet_are_sealed_without_asking_anybody(records, server, tmp_path, found_in):
    replicate(records, tmp_path / "run")
    asked = len(server.seen)
    (tmp_path / "run/1-generate/SHA256SUMS").unlink()
    assert replicate(records, tmp_path / "run").status == "completed"
    assert len(server.seen) == asked
    assert found_in(tmp_path / "run/1-generate").failure is None
    assert found_in(tmp_path / "run").failure is None


def test_records_that_were_joined_and_not_sealed_yet_are_sealed(records, tmp_path, found_in):
    data = tmp_path / "data.jsonl"
    data.write_text('{"instruction": "Name the colour of snow.", "input": "", "output": "White."}\n', encoding="utf-8")
    recipe = records | {"data": str(data)}
    replicate(recipe, tmp_path / "run")
    joined = (tmp_path / "run/1-generate/joined.jsonl").read_bytes()
    (tmp_path / "run/1-generate/SHA256SUMS").unlink()
    (tmp_path / "run/SHA256SUMS").unlink()
    replicate(recipe, tmp_path / "run")
    assert (tmp_path / "run/1-generate/joined.jsonl").read_bytes() == joined
    assert found_in(tmp_path / "run/1-generate").failure is None


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
class TestEnd:
    """What a signal or a kill leaves of a stage whose result is there."""

    @pytest.fixture
    def root(self, carried_out, copy_of):
        """A replication of which the last files are missing."""
        root = copy_of(carried_out.root)
        for name in ("replication.json", "report.html", "README.md", "SHA256SUMS"):
            (root / name).unlink()
        return root

    @pytest.mark.parametrize("status", ["stopped", "failed", "running"])
    def test_a_run_that_was_interrupted_after_complete_is_sealed(self, root, carried_out, found_in, status):
        (root / "3-finetune/SHA256SUMS").unlink()
        (root / "3-finetune/status.json").write_text(json.dumps({"status": status, "reason": "KeyboardInterrupt: "}))
        assert replicate(carried_out.recipe, root).status == "completed"
        assert found_in(root).failure is None
        assert found_in(root / "3-finetune").failure is None

    def test_an_evaluation_without_its_page_gets_it(self, root, carried_out, found_in):
        for name in ("SHA256SUMS", "report.html"):
            (root / "4-evaluate" / name).unlink()
        assert replicate(carried_out.recipe, root).status == "completed"
        assert (root / "4-evaluate/report.html").exists()
        assert found_in(root).failure is None
        assert found_in(root / "4-evaluate").failure is None

    def test_a_replication_that_was_moved_while_it_trained_goes_on(self, root, carried_out, rewrite, found_in):
        run = root / "3-finetune"
        rewrite(run / "run.json", lambda it: it["data"].update(name="/gone/2-curate/curated.jsonl"))
        for name in ("COMPLETE", "SHA256SUMS", "report.html", "README.md"):
            (run / name).unlink()
        for place in (run / "adapter", run / "checkpoint-4", root / "4-evaluate", root / "5-export"):
            shutil.rmtree(place)
        assert replicate(carried_out.recipe, root).status == "completed"
        weights = "3-finetune/adapter/adapter_model.safetensors"
        assert (root / weights).read_bytes() == (carried_out.root / weights).read_bytes()
        assert found_in(root).failure is None
        assert found_in(run).said["data"].startswith("curated.jsonl is what was trained on")

    def test_a_replication_that_was_moved_before_its_evaluation_goes_on(self, root, carried_out, rewrite, found_in):
        run = root / "3-finetune"
        for name in ("run.json", "COMPLETE"):
            text = (run / name).read_text(encoding="utf-8").replace(str(carried_out.root), "/gone")
            (run / name).write_text(text, encoding="utf-8")
        (run / "SHA256SUMS").unlink()
        shutil.rmtree(root / "4-evaluate")
        assert replicate(carried_out.recipe, root).status == "completed"
        results = "4-evaluate/results.json"
        assert (root / results).read_bytes() == (carried_out.root / results).read_bytes()
