"""What the kernels take and how they cut their work: facts that their memory follows from.

They stand here because a plan knows no kernel, and a kernel tuned without its plan would be planned wrongly.
"""

ARCHITECTURES = ("llama", "mistral", "qwen2")
"""Values of `model_type` that run on kernels."""

QUERY_BLOCK = 256
"""Queries of a block of attention; fewer save products above the diagonal, more make larger matrices."""

RECORD_MULTIPLE = 32
"""Records are padded to a multiple of this many tokens. oneDNN compiles each product anew for each size that it meets,
and keeps what it compiled; there are few sizes then. A key that is padding comes after every query, so none sees it."""

KEPT_LENGTH = 1024
"""Longest record whose probabilities are kept."""

LOGITS_BYTES, LEAN_LOGITS_BYTES = 64 << 20, 16 << 20
"""Bytes of a block of logits, without and with checkpointed layers."""

ROW_MULTIPLE = 64
"""Tokens of a batch, and those of them that are learned, are padded to a multiple of this, for oneDNN too."""

WIDE, MAPPED_BYTES = 3072, 3 << 20
"""Of models at least this wide, tensors from this size on are mapped where layers are computed again (allocator)."""

CACHE_SHARE = 0.25
"""Most of a machine's memory that unpacked copies of 4-bit weights take, where no number was given."""


def takes_flash(head_size: int, width_bytes: int) -> bool:
    """Tell whether torch's flash attention for CUDA takes heads of this size, in numbers of so many bytes.

    Source: the checks in its flash_api.cpp.
    """
    return width_bytes == 2 and head_size % 8 == 0 and head_size <= 256
