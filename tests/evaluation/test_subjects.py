import json
import shutil

import pytest

from alpaca_lora.errors import ModelError
from alpaca_lora.evaluation.subjects import find_other, find_subject


def test_a_model_that_is_quantised_already_is_refused_as_base_and_as_another(train, tiny_base, tmp_path):
    adapter, base = train(tiny_base), shutil.copytree(tiny_base, tmp_path / "base")
    subject = find_subject(adapter, base_model=str(base))
    assert find_other(base, subject).base_dir == base
    config = json.loads((base / "config.json").read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    (base / "config.json").write_text(json.dumps(config))
    for ask in (lambda: find_subject(adapter, base_model=str(base)), lambda: find_other(base, subject)):
        with pytest.raises(ModelError, match=r"has quantization_config \('gptq'\)"):
            ask()
