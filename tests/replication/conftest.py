import pytest

from tests.scripted_teacher import ScriptedTeacher


@pytest.fixture
def server():
    with ScriptedTeacher() as server:
        yield server


@pytest.fixture
def records(server):
    """A recipe that needs no model: records by a scripted teacher, and their curation."""
    return {
        "name": "small",
        "generate": {
            "teacher": "openai",
            "model": "teacher-a",
            "base_url": server.url,
            "num": 24,
            "budget_tokens": 1_000_000,
            "pause_seconds": 1e-3,
        },
        "curate": {},
    }


@pytest.fixture
def whole(records, tiny_base):
    """A recipe of all stages around a base model of two layers."""
    return records | {
        "finetune": {
            "base_model": str(tiny_base),
            "max_steps": 6,
            "batch_size": 4,
            "micro_batch_size": 2,
            "packing": False,
            "precision": "fp32",
            "learning_rate": 5e-3,
            "validation_size": 6,
            "save_steps": 2,
            "probe_size": 2,
            "probe_max_new_tokens": 8,
            "kernels": {"compiled": False},
        },
        "evaluate": {"max_new_tokens": 8, "resamples": 100},
        "export": {"format": "hf"},
    }
