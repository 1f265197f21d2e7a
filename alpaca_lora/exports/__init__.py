"""Out of the library: merge an adapter into its base, write it for other programs, and prove that it still answers alike."""

from alpaca_lora.exports.contract import Contract, read_contract
from alpaca_lora.exports.formats import FORMATS, Format
from alpaca_lora.exports.parity import Parity, check_artifact
from alpaca_lora.exports.recipe import ExportResult, export
from alpaca_lora.exports.surfaces import Surface

__all__ = [
    "FORMATS",
    "Contract",
    "ExportResult",
    "Format",
    "Parity",
    "Surface",
    "check_artifact",
    "export",
    "read_contract",
]
