"""Out of the library: merge an adapter, write it for other programs, and prove that it still answers alike."""

from alpaca_lora.exports.contract import Contract, read_contract
from alpaca_lora.exports.formats import FORMATS, Format
from alpaca_lora.exports.hub import push
from alpaca_lora.exports.parity import Parity, check_artifact
from alpaca_lora.exports.recipe import ExportResult, export, merge_adapter
from alpaca_lora.exports.surfaces import Surface
from alpaca_lora.exports.template_check import SurfaceFinding, check_templates
from alpaca_lora.exports.weight_diff import make_weight_diff, recover_weights

__all__ = [
    "FORMATS",
    "Contract",
    "ExportResult",
    "Format",
    "Parity",
    "Surface",
    "SurfaceFinding",
    "check_artifact",
    "check_templates",
    "export",
    "make_weight_diff",
    "merge_adapter",
    "push",
    "read_contract",
    "recover_weights",
]
