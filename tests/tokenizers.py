"""Small tokenizers that are made as those of the families that we support are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.texts import lines

END = "<|endoftext|>"
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(*splitters: pre_tokenizers.PreTokenizer, **options: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(splitters))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _split(pattern: str, behavior: str = "isolated", *, invert: bool = False) -> list[object]:
    return [
        pre_tokenizers.Split(Regex(pattern), behavior, invert=invert),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _trained(tokenizer: Tokenizer, specials: list[str | AddedToken]) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=specials,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines(400, seed=1), trainer)
    return tokenizer


def neox() -> Tokenizer:
    """Mamba's and Mamba-2's: NFC, and runs of spaces as tokens that are not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _trained(tokenizer, [END, "<|padding|>"])
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    tokenizer.add_tokens([AddedToken("é", normalized=True), AddedToken("<mask>", lstrip=True)])
    return tokenizer


def falcon() -> Tokenizer:
    """Falcon-Mamba's and Falcon-H1's: punctuation, digits, and runs of three of them."""
    tokenizer = _byte_level(
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    )
    return _trained(tokenizer, [END, AddedToken("<s>", rstrip=True)])


def granite() -> Tokenizer:
    """Granite 4.0's: what the regular expression does not match is dropped, which is nothing."""
    return _trained(_byte_level(*_split(_CL100K, "removed", invert=True)), [END])


def llama() -> Tokenizer:
    """LFM2's and Bamba's: words that are tokens are not merged, and a token stands in front."""
    tokenizer = _trained(_byte_level(*_split(_CL100K), ignore_merges=True), ["<s>", END])
    template = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B:1", [("<s>", 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), template])
    return tokenizer


def qwen() -> Tokenizer:
    """Qwen3.5's: NFC, marks go with letters."""
    tokenizer = _byte_level(*_split(_QWEN))
    tokenizer.normalizer = normalizers.NFC()
    return _trained(tokenizer, [END])


def nemotron() -> Tokenizer:
    """Nemotron-H's: words begin where a capital follows a small letter."""
    return _trained(_byte_level(*_split(_TEKKEN)), ["<s>", "</s>"])


def _sentence_piece(tokenizer: Tokenizer) -> Tokenizer:
    """Add tokens for all bytes, as SentencePiece has them, and what decodes them."""
    specials: list[str | AddedToken] = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=120,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines(300, seed=1), trainer)
    return tokenizer


def mistral() -> Tokenizer:
    """Codestral-Mamba's as first converted: the normaliser turns spaces into signs."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _sentence_piece(tokenizer)


def metaspace() -> Tokenizer:
    """The same as newer converters write it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=True)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(Regex("▁"), " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _sentence_piece(tokenizer)


def unknown() -> Tokenizer:
    """A vocabulary of characters that lacks most: without bytes to fall back on."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("_", "always", split=True)
    tokenizer.decoder = decoders.Metaspace("_", "always")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], limit_alphabet=60, show_progress=False
    )
    tokenizer.train_from_iterator(lines(300, seed=1), trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: made
    for made in (neox, falcon, granite, llama, qwen, nemotron, mistral, metaspace, unknown)
}


def save(kind: str, folder: Path) -> Path:
    """Write a tokenizer.json of a kind; returns its path."""
    path = folder / "tokenizer.json"
    KINDS[kind]().save(str(path))
    return path
