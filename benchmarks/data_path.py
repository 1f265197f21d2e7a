"""How long 52,002 records take from a file to the trainer's rows, first and from the cache, and in how much memory.

Run:  python benchmarks/data_path.py [DIR]     (half a minute; needs the embedded model and the published data in DIR,
      by default ../shared/data)

The records are drawn from the published files with a fixed seed, and each instruction gets its number, so that none is
twice. Each run is a process of its own with the whole training stack in it. What runs beside it counts against it, so
the seconds of the processor are printed too.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.models import EMBEDDED, load_tokenizer, locate_base_model
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record, load_records, read_dataset, save_records
from alpaca_lora.training.dataset import build_dataset, encode_split
from alpaca_lora.training.row_cache import open_cache

COUNT, SEED, PACKED_LENGTH = 52_002, 0, 2048
FILES = (
    "alpaca_en_999.json",
    "gsm8k_alpaca_7473.json",
    "gpteacher_roleplay_3146.json",
    "stanford_seed_tasks_175.jsonl",
)


def draw(directory: Path) -> list[Record]:
    """Return the records, the same ones each time."""
    pool = [record for name in FILES for record in load_records(directory / name, allow_empty_output=True)]
    pool = [record for record in pool if record.output.strip()]
    drawn = random.Random(SEED).choices(pool, k=COUNT)
    return [Record(f"{r.instruction} ({number})", r.input, r.output) for number, r in enumerate(drawn, start=1)]


def measure(data: Path, cache_dir: Path) -> None:
    """Take the records from a file to the trainer's rows, and print what each part took."""

    def timed(label: str, work: Callable[[], Any]) -> Any:
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        print(f"  {label:22}{seconds:8.2f} s{cpu:9.2f} s{COUNT / seconds:12,.0f}")
        return result

    def encode() -> Any:
        cache = open_cache(cache_dir, data_sha256=loaded.sha256, prompter=prompter, tokenizer=tokenizer)
        return encode_split(loaded.records, prompter, tokenizer, FinetuneConfig(), cache=cache)

    prompter = Prompter()
    began = time.perf_counter()
    loaded = timed("read", lambda: read_dataset(data))
    tokenizer = timed("load the tokenizer", lambda: load_tokenizer(locate_base_model(EMBEDDED)))
    encoding = time.perf_counter()
    rows, rejected = timed("encode", encode)
    packed = timed("pack, build the rows", lambda: build_dataset(rows, packed_length=PACKED_LENGTH))
    seconds = time.perf_counter() - encoding
    print(f"  {'encode and pack':22}{seconds:8.2f} s{'':11}{COUNT / seconds:12,.0f}")
    print(f"  {'all of it':22}{time.perf_counter() - began:8.2f} s")
    tokens, peak = int(rows.lengths.sum()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {len(rows):,} records kept, {len(rejected)} too long, {tokens:,} tokens in {len(packed):,} rows", end="")
    print(f" ({tokens / len(packed) / PACKED_LENGTH:.1%} full); peak memory {peak:.2f} GiB")


def main() -> None:
    """Draw the records, and measure two runs on them."""
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    source = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[2] / "shared" / "data")
    with tempfile.TemporaryDirectory() as directory:
        data, cache = Path(directory, "records.json"), Path(directory, "cache")
        save_records(draw(source), data)
        print(f"{COUNT:,} records, {data.stat().st_size / 1e6:.0f} MB\n{'':26}seconds  processor   records/s")
        for title in ("first run", "second run"):
            print(title, flush=True)
            subprocess.run([sys.executable, __file__, "--measure", str(data), str(cache)], check=True)


if __name__ == "__main__":
    main()
