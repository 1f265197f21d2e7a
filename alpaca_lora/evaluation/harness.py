"""Tasks of lm-evaluation-harness, with a model of ours handed over and every question in its own prompt template.

A question becomes the instruction of the template, few-shot examples and the task's description in front of it. Token
ids are those of training: the prompt, then the answer, each encoded on its own; the harness's own wrapper for
transformers would encode both together and move the line end before the answer into it.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from alpaca_lora._files import sha256_of
from alpaca_lora._optional import require
from alpaca_lora.config import EvaluationConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation.measures import Measure, Quantity, Rows, compare
from alpaca_lora.evaluation.subjects import Subject
from alpaca_lora.models import (
    IGNORED,
    Decoding,
    encode_prompt,
    encode_text,
    generate_responses,
    positions_of,
    row_losses,
)

__all__ = ["check_tasks", "describe_harness", "measure_tasks", "run_task", "title_of"]

_LONGEST = 256
"""Tokens of an answer where a task sets no limit, as in the harness."""

_YAML = (".yaml", ".yml")
_WORD = re.compile(r"""[^\s'",\[\]{}]+""")
"""What may be the name of a file, or module.function, in a YAML file."""


def check_tasks(names: Sequence[str]) -> None:
    """Refuse tasks that the harness does not have.

    Args:
        names: tasks, groups and tags of the harness, or YAML files.

    Raises:
        ConfigError: there is no such task, where the message names similar ones, or two have the same name.
        MissingDependencyError: lm-eval is not installed.
    """
    titles = [title_of(name) for name in names]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ConfigError(f"several tasks are called {', '.join(twice)}: name each once, and rename files of one name")
    manager = _manager(names)
    known = manager.all_tasks
    unknown = [name for name in names if not _is_file(name) and not manager.match_tasks([name])]
    if unknown:
        near = [other for name in unknown for other in difflib.get_close_matches(name, known, n=3)]
        meant = f" (did you mean {', '.join(near)}?)" if near else ""
        raise ConfigError(
            f"lm-evaluation-harness has no task {', '.join(map(repr, unknown))}{meant}:  lm-eval ls tasks  lists all, "
            "and a YAML file of your own is one too"
        )


def describe_harness(names: Sequence[str]) -> dict[str, str]:
    """Return what decides what the tasks are: the version, and for YAML files a SHA-256 of all that is in them."""
    return {
        "lm_eval": metadata.version("lm_eval"),
        **{Path(name).name: _sha256(name) for name in names if _is_file(name)},
    }


def run_task(name: str, subject: Subject, model: Any, config: EvaluationConfig) -> dict[str, Any]:
    """Run one task, or all tasks of a group.

    Args:
        name: task, group or tag of the harness, or a YAML file.
        subject: whose template and tokenizer are used.
        model: its loaded model.
        config: seed, batch size and the most documents of a task.

    Returns:
        JSON values: `figures`, the harness's own by task; `rows`, each metric's number for every document, pooled over
        the tasks; `better`, by metric whether higher is better.

    Raises:
        MissingDependencyError: lm-eval is not installed.
    """
    base = require("lm_eval.api.model", extra="eval").LM
    asked = type("Asked", (_Asked, base), {})(subject, model, config)
    out = require("lm_eval.evaluator", extra="eval").simple_evaluate(
        asked,
        tasks=[name],
        task_manager=_manager([name]),
        limit=config.task_rows,
        apply_chat_template=True,
        fewshot_as_multiturn=False,
        bootstrap_iters=0,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
        fewshot_random_seed=config.seed,
    )
    rows: dict[str, list[float]] = {}
    better: dict[str, bool] = {}
    for task, samples in sorted(out["samples"].items()):
        for sample in sorted(samples, key=lambda one: one["doc_id"]):
            for metric in sample["metrics"]:
                if isinstance(sample[metric], int | float | np.number):
                    rows.setdefault(f"{metric},{sample['filter']}", []).append(float(sample[metric]))
                    better[f"{metric},{sample['filter']}"] = out["higher_is_better"][task].get(metric) is not False
    figures = {task: {key: _plain(value) for key, value in own.items()} for task, own in sorted(out["results"].items())}
    return {"figures": figures, "rows": rows, "better": better}


def measure_tasks(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]], config: EvaluationConfig
) -> tuple[Measure, ...]:
    """Compare the models on every task, document by document.

    Args:
        found: what `run_task` returned, by task and model.
        config: seed and resamples count.
    """
    measures = []
    for task, models in found.items():
        for metric, better in next(iter(models.values()))["better"].items():
            rows = {name: np.array(said["rows"][metric]) for name, said in models.items()}
            quantity = Quantity(
                key=f"{title_of(task)}/{metric}",
                title=f"{title_of(task)}: {metric.removesuffix(',none')}",
                unit="mean",
                better="higher" if better else "lower",
                share=all(set(values) <= {0.0, 1.0} for values in rows.values()),
            )
            weighed = {name: Rows(values, np.ones_like(values)) for name, values in rows.items()}
            measures.append(compare(quantity, weighed, config))
    return tuple(measures)


def title_of(task: str) -> str:
    """Return a task's name, for a YAML file that of the file."""
    return Path(task).stem if _is_file(task) else task


def _is_file(name: str) -> bool:
    return Path(name).suffix in _YAML and Path(name).is_file()


def _sha256(name: str) -> str:
    """Return the digest of a YAML file and of the files that it names: what it includes, calls, and takes rows from."""
    digests: dict[Path, str] = {}
    waiting = [Path(name)]
    while waiting:
        path = waiting.pop().resolve()
        if path in digests or not os.path.isfile(path):  # noqa: PTH113 - takes any word
            continue
        digests[path] = sha256_of(path)
        if path.suffix in _YAML:
            for word in _WORD.findall(path.read_text("utf-8", errors="replace")):
                waiting += [Path(word), path.parent / word, path.parent / f"{word.partition('.')[0]}.py"]
    return hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()


def _manager(names: Sequence[str]) -> Any:
    tasks = require("lm_eval.tasks", extra="eval")
    return tasks.TaskManager(include_defaults=not all(map(_is_file, names)))


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else str(value)


@dataclass
class _Asked:
    """What the harness asks a model for, its public interface; mixed with `lm_eval.api.model.LM`."""

    subject: Subject
    model: Any
    config: EvaluationConfig

    def __post_init__(self) -> None:
        super().__init__()
        self.tokenizer = self.subject.tokenizer
        self.room = positions_of(self.subject.base_dir)

    @property
    def tokenizer_name(self) -> str:
        """Return what the harness keeps requests under, which it is not asked to keep."""
        return self.subject.prompter.sha256

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Render questions as one instruction; what begins the answer already follows the prompt."""
        begun = "" if add_generation_prompt else chat_history[-1]["content"]
        turns = chat_history if add_generation_prompt else chat_history[:-1]
        return self.subject.prompter.generate_prompt("\n\n".join(turn["content"] for turn in turns)) + begun

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Score each continuation after its context."""
        start = [int(self.tokenizer.eos_token_id)]
        pairs = [
            (encode_prompt(self.tokenizer, context) or start, encode_text(self.tokenizer, continuation))
            for context, continuation in (request.args for request in requests)
        ]
        return self._score(pairs)

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Score whole texts, without the template."""
        windows = require("lm_eval.utils", extra="eval")
        scores = []
        for (text,) in (request.args for request in requests):
            parts = windows.get_rolling_token_windows(
                encode_text(self.tokenizer, text), int(self.tokenizer.eos_token_id), self.room - 1, 1
            )
            scores.append(sum(score for score, _ in self._score(list(map(windows.make_disjoint_window, parts)))))
        return scores

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer each context up to one of its stops."""
        groups: dict[str, list[int]] = {}
        for place, (context, options) in enumerate(request.args for request in requests):
            room = self.room - len(encode_prompt(self.tokenizer, context))
            if room < 1:
                raise ConfigError(
                    f"a question of the task has no room for an answer: the model reads {self.room} tokens"
                )
            asked = {**options, "max_gen_toks": min(int(options.get("max_gen_toks", _LONGEST)), room)}
            groups.setdefault(json.dumps(asked, sort_keys=True), []).append(place)
        answers: dict[int, str] = {}
        for key, places in groups.items():
            contexts = [requests[place].args[0] for place in places]
            answers.update(zip(places, self._generate(contexts, json.loads(key)), strict=True))
        return [answers[place] for place in range(len(requests))]

    def _score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        rows = []
        for context, wanted in pairs:
            ids = [*context, *wanted][-self.room :]
            learned = min(len(wanted), len(ids) - 1)
            rows.append((ids, [IGNORED] * (len(ids) - learned) + ids[len(ids) - learned :]))
        return [(-loss.nll, loss.greedy) for loss in row_losses(self.model, rows)]

    def _generate(self, contexts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        drawn: dict[str, Any] = {}
        if options.get("do_sample"):  # at 1.0 where the task names no temperature, as in transformers
            named = {name: options[name] for name in ("temperature", "top_p", "top_k") if name in options}
            drawn = {"seed": self.config.seed, "temperature": 1.0, **named}
        decoding = Decoding(max_new_tokens=options["max_gen_toks"], **drawn)
        responses = generate_responses(
            self.model, self.tokenizer, contexts, decoding, batch_size=self.config.batch_size, stop_texts=stops
        )
        texts = [response.text for response in responses]
        return [text[: min([len(text), *(at for stop in stops if (at := text.find(stop)) >= 0)])] for text in texts]
