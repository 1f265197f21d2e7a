"""Base models and their tokenizers: find, load, fingerprint, and let them answer."""

from alpaca_lora.models.documents import check_documents, positions_of
from alpaca_lora.models.embedded import EMBEDDED, EMBEDDED_HUB_ID
from alpaca_lora.models.fingerprints import fingerprint
from alpaca_lora.models.generation import Decoding, Response, generate_responses, stream_response
from alpaca_lora.models.hardware import detect_hardware
from alpaca_lora.models.headers import check_header
from alpaca_lora.models.loading import best_precision, load_base_model
from alpaca_lora.models.local_teacher import LocalTeacher
from alpaca_lora.models.locate import locate_base_model
from alpaca_lora.models.losses import IGNORED, RowLoss, mean_loss, row_losses, supervised_logits
from alpaca_lora.models.pieces import split_ids
from alpaca_lora.models.tokenizer import (
    check_vocabulary,
    encode_prompt,
    encode_text,
    encode_texts,
    load_tokenizer,
    prefix_ids,
    stop_ids,
)

__all__ = [
    "EMBEDDED",
    "EMBEDDED_HUB_ID",
    "IGNORED",
    "Decoding",
    "LocalTeacher",
    "Response",
    "RowLoss",
    "best_precision",
    "check_documents",
    "check_header",
    "check_vocabulary",
    "detect_hardware",
    "encode_prompt",
    "encode_text",
    "encode_texts",
    "fingerprint",
    "generate_responses",
    "load_base_model",
    "load_tokenizer",
    "locate_base_model",
    "mean_loss",
    "positions_of",
    "prefix_ids",
    "row_losses",
    "split_ids",
    "stop_ids",
    "stream_response",
    "supervised_logits",
]
