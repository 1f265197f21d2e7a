"""The stopwatch of the benchmark of saving finds what it times by name, which a change of the package may take away."""

import importlib


def test_what_is_timed_is_there_and_is_put_back(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    benchmark = importlib.import_module("safe_checkpoints")
    watch = benchmark.Stopwatch()
    with watch:
        assert all(getattr(owner, name) is not watch.real[part] for part, (owner, name) in benchmark.PARTS.items())
    assert all(getattr(owner, name) is watch.real[part] for part, (owner, name) in benchmark.PARTS.items())
