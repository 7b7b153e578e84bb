"""Builds a fast tokenizer (tokenizer.json) from the vocabulary and the merges in a GGUF file.

Byte-level BPE only, which most open models use. A GGUF names its pre-tokenizer in one word (`tokenizer.ggml.pre`,
see llama.cpp's llama-vocab.cpp); PRE_TOKENIZERS defines the supported ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from overtone.errors import OvertoneError

CONTROL, USER_DEFINED = 3, 4  # gguf.TokenType

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = _SPLIT.replace("DIGITS", r"\p{N}")
LLAMA3_SPLIT = _SPLIT.replace("DIGITS", r"\p{N}{1,3}")


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _smollm() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), bytes_only])


PRE_TOKENIZERS: Mapping[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": _gpt2,
    "smollm": _smollm,
    "qwen2": lambda: _split(QWEN2_SPLIT),
    "llama-bpe": lambda: _split(LLAMA3_SPLIT),
}


def build_tokenizer(fields: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer from a GGUF's fields. Raises OvertoneError for a kind that cannot be rebuilt exactly."""
    kind = fields.get("tokenizer.ggml.model")
    pre = str(fields.get("tokenizer.ggml.pre"))
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise OvertoneError(
            f"Overtone cannot rebuild the GGUF file's tokenizer ({kind}, {pre}) exactly; "
            "put the model's tokenizer.json beside the file."
        )
    tokens = fields["tokenizer.ggml.tokens"]
    tokenizer = Tokenizer(_bpe(tokens, fields["tokenizer.ggml.merges"], ignore_merges=pre == "llama-bpe"))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _add_tokens(tokenizer, tokens, fields["tokenizer.ggml.token_type"])
    return tokenizer


def _bpe(tokens: Sequence[str], merges: Sequence[str], ignore_merges: bool) -> models.BPE:
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    return models.BPE(vocab=vocab, merges=pairs, ignore_merges=ignore_merges)


def _add_tokens(tokenizer: Tokenizer, tokens: Sequence[str], kinds: Sequence[int]) -> None:
    """Add the control tokens, which text never produces, and the user-defined tokens, which it may."""
    for token, kind in zip(tokens, kinds, strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False)])
