"""How many records a run holds out."""

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError

__all__ = ["validation_count"]


def validation_count(config: FinetuneConfig, rows: int, heldout: int) -> int:
    """Return how many records a run holds out for evaluation.

    Args:
        config: validation_size and keep_best count.
        rows: records of the training data.
        heldout: records that the data brings as a held-out set of its own, which is used when validation_size is None.

    Returns:
        The size of the data's own set when that is used, else how many to draw from the rows; 0 for none.

    Raises:
        ConfigError: nothing would be left to train on, or keep_best would have nothing to compare with.
    """
    size = config.validation_size
    if size is None:
        count = heldout or min(rows // 20, 500)
        if config.keep_best and not count:
            raise ConfigError(
                f"config.keep_best needs held-out records, and {rows} records are too few to take 5 % of; "
                "set config.validation_size, or keep_best to false"
            )
        return count
    count = int(size) if size >= 1 or size == 0 else max(1, round(size * rows))
    if count and count >= rows:
        raise ConfigError(
            f"config.validation_size {size} leaves none of {rows} records to train on; hold out at most {rows - 1}, "
            "or a share such as 0.05"
        )
    return count
