"""One function per subcommand. Each brings in what it needs when it runs, so that no help text waits for torch."""

import sys
from collections.abc import Callable
from inspect import cleandoc
from typing import Any

from alpaca_lora.cli.guide import GUIDE

__all__ = ["COMMANDS"]


def finetune(arguments: list[str]) -> int:
    """Fine-tune a base model on instruction records with LoRA, and prove that the adapter works.

    Without options it trains the embedded model on the packaged records: no account, no download, no GPU. The run
    directory is a contract: the same command again goes on where it was interrupted.
    """
    from alpaca_lora.cli.flags import FINETUNE, make_flags, read_config
    from alpaca_lora.cli.legacy import translate

    arguments, announced = translate(arguments)
    for sentence in announced:
        print(f"note: {sentence}", file=sys.stderr)
    flags = _parse(finetune, arguments, *make_flags(FINETUNE))
    config = read_config(flags)
    run = (flags["base_model"], flags["data"], flags["output_dir"])
    if flags["dry_run"]:
        from alpaca_lora.cli.preview import render_plan
        from alpaca_lora.training import prepare
        from alpaca_lora.training.progress import Progress

        with Progress(enabled=not flags["quiet"]) as display:
            prepared = prepare(*run, config, display=display)
        print(render_plan(prepared, flags["output_dir"]))
        return 0

    from alpaca_lora.reporting.terminal import render_summary
    from alpaca_lora.reporting.wording import visible
    from alpaca_lora.training import finetune as train

    result = train(*run, config=config, progress=not flags["quiet"])
    for note in result.notes if flags["quiet"] else ():  # else they were shown when they came
        print(f"note: {visible(note)}", file=sys.stderr)
    print(result.adapter_dir if flags["quiet"] else render_summary(result.summary))
    return 0


def chat(arguments: list[str]) -> int:
    """Talk to a fine-tuned model, or with --prompt let it answer once on standard output.

    The adapter knows its base model and its prompt template. Without decoding options it takes the likeliest token each
    time. Every instruction stands alone, as in training.
    """
    from alpaca_lora.cli.conversation import ChatOptions, answer_once, converse

    options = _parse(chat, arguments, ChatOptions)
    return converse(options) if options.prompt is None else answer_once(options)


def curate(arguments: list[str]) -> int:
    """Clean a set of records by named rules, and say of each row why it is in or out.

    Repairs what can be mended without loss, recomputes answers where they can be computed, compares records with each
    other and with evaluation sets. The directory gets the curated records, a page, a ledger of every finding and
    decision, a datasheet and a patch; other thresholds and actions can be tried on the same findings with --replay.
    """
    from alpaca_lora.cli.curation import CurateOptions, curate_file

    return curate_file(_parse(curate, arguments, CurateOptions))


def evaluate(arguments: list[str]) -> int:
    """Compare an adapter with its base, on rows that it was not trained on; every number comes with its interval.

    Loss, stop rate, lengths, repetition and matches need no judge; --judge adds a win rate, in both orders, and --tasks
    tasks of lm-evaluation-harness in the adapter's own prompt. The directory gets a page, results.json, and the answers
    in AlpacaEval's format. The same command goes on where it was interrupted.

    With --annotations no model and no judge is asked: win rates are computed from stored verdicts, AlpacaEval's own
    figures (versions 1 and 2) and length-controlled ones of ours. Where a file has both orders of a comparison, as told
    by is_switched_outputs, they count once, and the effect of the order is tested.
    """
    from alpaca_lora.cli.assessment import run_evaluation
    from alpaca_lora.cli.evaluating import EvaluateOptions

    return run_evaluation(_parse(evaluate, arguments, EvaluateOptions))


def compare(arguments: list[str]) -> int:
    """Let a person compare the answers of two models without knowing which is which.

    A page of this machine, or the terminal, shows an instruction and two answers, and nothing else. Whose they are is
    in a key that is opened after the last comparison; how many there will be is fixed before the first. The same
    command goes on where the rater stopped. The exit code is 0 when all are done and 3 when there are more.
    """
    from alpaca_lora.cli.comparing import CompareOptions, compare_blindly

    return compare_blindly(_parse(compare, arguments, CompareOptions))


def ui(arguments: list[str]) -> int:
    """Open a web page on which a fine-tuned model answers, beside its base model if you like.

    The page is for this machine alone, 127.0.0.1; it stores nothing, serves no file and asks no other address for
    anything. From another machine: ssh -L 7860:127.0.0.1:7860 HOST. Needs  pip install 'alpaca-lora[ui]'.

    For many users, or behind an API, another program serves the adapter faster: --recipe vllm and --recipe transformers
    print the commands for this adapter, which go like this:

      vllm serve BASE --enable-lora --lora-modules alpaca=DIR --chat-template DIR/chat_template.jinja
      alpaca-lora merge --adapter DIR --output-dir MERGED, then  transformers serve MERGED
    """
    from alpaca_lora.cli.web import UiOptions, open_page

    return open_page(_parse(ui, arguments, UiOptions))


def merge(arguments: list[str]) -> int:
    """Merge an adapter into its base, and prove that the merged model answers like the adapter on the base.

    The result is a model for transformers, vLLM and every other program that reads its format. Each weight is computed
    in float32 and cast once; the model is opened again in a clean process and compared before it appears.
    """
    from alpaca_lora.cli.exporting import MergeOptions, run_merge

    return run_merge(_parse(merge, arguments, MergeOptions))


def export(arguments: list[str]) -> int:
    """Write a fine-tuned model in the form that another program reads, and prove that it answers there as here.

    Every artefact is opened again in a clean process and compared with the adapter on its base: each weight, and the
    logits on eight prompts. parity.json beside it says what was found. One that differs is not kept.
    """
    from alpaca_lora.cli.exporting import ExportOptions, run_export

    return run_export(_parse(export, arguments, ExportOptions))


def check_template(arguments: list[str]) -> int:
    """Compare the prompt of every exported artefact with that of the training, as token ids.

    Each place from which a program takes the prompt is rendered on records with braces, quotes, many scripts and the
    headings themselves in them. The exit code is 2 if one differs, or has its beginning-of-text token twice or not at
    all.
    """
    from alpaca_lora.cli.exporting import CheckTemplateOptions
    from alpaca_lora.cli.exporting import check_template as check

    return check(_parse(check_template, arguments, CheckTemplateOptions))


def plan(arguments: list[str]) -> int:
    """Tell whether a fine-tuning run will fit, where its memory goes, how long it takes, and what to change.

    From config.json and the settings alone: no weights are fetched and no torch is loaded. Settings that are left open
    are chosen so that they fit. The exit code is 0 when it fits and 2 when it does not.
    """
    from alpaca_lora.cli.flags import PLAN, make_flags, read_config
    from alpaca_lora.cli.planning import SETTINGS, show_plan

    flags = _parse(plan, arguments, *make_flags(PLAN, SETTINGS))
    return show_plan(flags, read_config(flags))


def inspect(arguments: list[str]) -> int:
    """Show records token by token as the trainer gets them: what is masked, what is learned, where the answer ends."""
    from alpaca_lora.cli.flags import INSPECT, make_flags, read_config

    flags = _parse(inspect, arguments, *make_flags(INSPECT, _ENCODING))
    config = read_config(flags)

    from alpaca_lora.cli.preview import show_records

    show_records(flags["data"], flags["records"], base_model=flags["base_model"], config=config)
    return 0


def generate(arguments: list[str]) -> int:
    """Let a teacher model write instruction records, within a budget that holds under retries, timeouts and kills.

    Every answer is in a journal before it is used: the same command goes on where a run ended, and pays for no answer
    twice. The exit code is 0 when all rows are there and 3 when a budget, or anything else that may pass, ended it.
    """
    from alpaca_lora.cli.generating import GenerateOptions, generate_records

    return generate_records(_parse(generate, arguments, GenerateOptions))


def replicate(arguments: list[str]) -> int:
    """Run a whole recipe with one command: generate, curate, fine-tune, evaluate, export, and a report.

    Each stage is a command of its own (its --help explains its settings) in a directory of its own, 1-generate to
    5-export, and takes what the one before it wrote. The evaluation set is kept out of the training data. The same
    command again goes on where it was interrupted; what is finished is not done again, and another recipe is refused.
    In the end replication.json lists every file with its SHA-256. The exit code is 3 when a budget ended a stage.
    """
    from alpaca_lora.cli.replicating import ReplicateOptions, replicate_recipe

    return replicate_recipe(_parse(replicate, arguments, ReplicateOptions))


def verify(arguments: list[str]) -> int:
    """Tell whether a directory is what it claims to be, untouched, and its results follow from what is stored in it.

    Every file is compared with the digests in SHA256SUMS. Then whatever can be made again is made again: records from
    the teacher's stored answers, a curation from the rows that were read, figures from answers and verdicts, the
    adapter's probe losses in a clean process; of a replication also that each stage was made from the one before. What
    cannot be checked here is said, with the reason. Offline; the directory is not changed. The exit code is 0 when no
    check failed, and 2 with the first that did.

    A seal shows damage and careless edits. It is no signature: whoever may write the files may seal them anew.
    """
    from alpaca_lora.cli.verifying import VerifyOptions, verify_directory

    return verify_directory(_parse(verify, arguments, VerifyOptions))


def doctor(arguments: list[str]) -> int:
    """Check this machine: packages, device, number formats, 4-bit training, the embedded model, disk and Hub.

    Nothing is downloaded and no address is contacted. The exit code is 0 if this machine can fine-tune, else 2.
    """
    from alpaca_lora.cli.checks import DoctorOptions, report_checks

    return report_checks(_parse(doctor, arguments, DoctorOptions))


_ENCODING = ("template", "column_map", "allow_empty_output", "max_length", "overlong", "train_on_prompt")

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "finetune": finetune,
    "chat": chat,
    "generate": generate,
    "curate": curate,
    "evaluate": evaluate,
    "compare": compare,
    "ui": ui,
    "merge": merge,
    "export": export,
    "check-template": check_template,
    "plan": plan,
    "inspect": inspect,
    "replicate": replicate,
    "verify": verify,
    "doctor": doctor,
}
"""What each name runs; the function takes what follows the name and returns the exit code."""


def _parse(command: Callable[[list[str]], int], arguments: list[str], kind: Any, default: Any = None) -> Any:
    """Let tyro parse what follows a subcommand; its help text gets the examples at its end."""
    import tyro

    name = command.__name__.replace("_", "-")
    options: dict[str, Any] = {} if default is None else {"default": default}
    try:
        return tyro.cli(
            kind,
            prog=f"alpaca-lora {name}",
            description=cleandoc(command.__doc__ or ""),
            args=arguments,
            **options,
        )
    except SystemExit as end:
        if not end.code:
            examples = "\n".join(f"  {example}" for example in GUIDE[name].examples)
            print(f"\n--debug shows the traceback of a failure.\n\nexamples:\n{examples}")
        raise
