"""Instruction records: one strict reader and one writer for every file format the recipe meets.

Text goes in and out byte for byte. A file with faults is refused as a whole, with every fault and its line at once;
what is merely worth knowing (a mapping that was chosen, duplicates, control characters) comes back as notes.
"""

from alpaca_lora.records.reading import load_records, read_dataset
from alpaca_lora.records.record import Limits, LoadedRecords, Record
from alpaca_lora.records.writing import save_records

__all__ = ["Limits", "LoadedRecords", "Record", "load_records", "read_dataset", "save_records"]
