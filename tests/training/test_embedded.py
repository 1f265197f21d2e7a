"""What the tiny model is too small to show: that the recipe teaches a real model."""

import pytest

from alpaca_lora import load_records
from alpaca_lora.config import FinetuneConfig

pytestmark = pytest.mark.slow


def test_eight_records_are_learned_by_heart_with_their_ends(tmp_path):
    from alpaca_lora.serving import load
    from alpaca_lora.training import finetune

    records = [record for record in load_records("alpaca-mini") if 3 <= len(record.output.split()) <= 30][:8]
    config = FinetuneConfig(
        epochs=10, batch_size=2, micro_batch_size=2, packing=False, learning_rate=2e-3, validation_size=0, probe_size=0
    )
    result = finetune(data=records, output_dir=tmp_path / "run", config=config, progress=False)
    assistant = load(result.adapter_dir)
    responses = assistant.respond_full(records, max_new_tokens=96)
    assert [response.text for response in responses] == [record.output for record in records]
    assert sum(response.stopped for response in responses) >= 7
