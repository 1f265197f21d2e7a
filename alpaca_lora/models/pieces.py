"""Token ids as the pieces of text that a person reads."""

from collections.abc import Collection, Iterator, Sequence

from transformers import PreTrainedTokenizerBase

__all__ = ["split_ids"]

_REPLACEMENT = "\ufffd"


def split_ids(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], borders: Collection[int] = ()
) -> Iterator[tuple[int, str]]:
    """Yield the text of each token, or of the few that share one character, with the index of its last token.

    Tokenizers do not decode token by token: a character can take several tokens, and a leading space can depend on what
    is before it. So the ids are decoded up to each token, and a token's text is what it adds.

    Args:
        tokenizer: the tokenizer that made the ids.
        ids: token ids.
        borders: indices of tokens that end a piece even where they end no character; the last token always does.
    """
    shown = 0
    for index in range(len(ids)):
        text = str(tokenizer.decode(list(ids[: index + 1]), clean_up_tokenization_spaces=False))
        if text.endswith(_REPLACEMENT) and index not in borders and index < len(ids) - 1:
            continue
        yield index, text[shown:]
        shown = len(text)
