import json

import pytest

from alpaca_lora.cli import main

ASKED = ["plan", "--model", "llama-2-7b", "--card", "4090", "--quantization", "nf4", "--max-length", "2048"]
IMPORTED = "import json, sys; from alpaca_lora.cli import main; main(sys.argv[1:]); print(json.dumps([*sys.modules]))"


def test_a_plan_shows_every_item_their_sum_and_that_no_gpu_was_measured(capsys):
    assert main(ASKED) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("llama-2-7b on 4090: fits, ")
    for item in ("linear layers", "quantisation constants", "optimizer", "loss chunk", "context", "allocator slack"):
        assert item in shown
    assert "not measured on a GPU" in shown
    assert "an estimate from half of the data sheet’s 165.2 TFLOP/s" in shown
    bar = next(line for line in shown.splitlines() if line.startswith("|"))
    assert bar.count("|") == 2
    assert len(bar) == 62


def test_json_has_the_same_numbers_unrounded(capsys):
    assert main([*ASKED, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["fits"]
    assert made["total_bytes"] == sum(item["bytes"] for item in made["items"])
    assert made["config"]["quantization"]["method"] == "nf4"
    assert made["measured_on_gpu"] is False


def test_what_does_not_fit_ends_with_two_and_the_flags_that_do_fit(capsys):
    given = ["plan", "--model", "llama-2-7b", "--card", "T4", "--no-gradient-checkpointing"]
    assert main(given) == 2
    *_, before, flags = capsys.readouterr().out.splitlines()
    assert before.startswith("the cheapest change that fits: ")
    assert main([*given[:-1], *flags.split()]) == 0


def test_what_can_never_fit_says_so(capsys):
    assert main(["plan", "--model", "llama-3-8b", "--memory-gb", "2"]) == 2
    assert "no change of these settings makes it fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory-gb", "much"], "--memory-gb must be a number, got 'much'"),
        (["--card", "voodoo"], "unknown card 'voodoo'"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--train-records", "0"], "records must be at least 1"),
    ],
)
def test_bad_input_is_one_error_without_a_traceback(arguments, said, capsys):
    assert main(["plan", *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_a_plan_imports_nothing_that_is_slow(run_python):
    done = run_python("-c", IMPORTED, *ASKED)
    imported = json.loads(done.stdout.splitlines()[-1])
    assert "tyro" in imported
    assert not {"torch", "numpy", "typeguard", "alpaca_lora.reporting.page"} & {*imported}
