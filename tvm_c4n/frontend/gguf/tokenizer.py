"""A GGUF file's vocabulary as tokenizer.json: byte-level BPE, as llama.cpp runs it.

The file names how texts are split before BPE by a word; the patterns of each are llama.cpp's, in
`llama-vocab.cpp`. What it does not keep is lost: a normalizer, as that of GPT-NeoX (NFC).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gguf import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.frontend.gguf.file import AGAIN, GgufFile

_KEY = "tokenizer.ggml."
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# By the word for how texts are split: patterns, each applied to what those before it left.
_PATTERNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "trillion", "granite-docling"), (_GPT2,)),
    **dict.fromkeys(
        ("refact", "starcoder", "command-r", "smollm", "codeshell"), (r"\p{N}", _GPT2)
    ),
    **dict.fromkeys(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "lfm2", "dbrx", "smaug-bpe"),
        (_LLAMA3,),
    ),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"),
}  # fmt: skip
# Splits whose vocabularies hold whole words, which are taken before any merge; and begin with bos.
_WHOLE_WORDS = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "lfm2")


class NoTokenizer(Exception):
    """The vocabulary is of a kind that is not read; says which."""


def text_files(file: GgufFile) -> dict[str, str]:
    """Return the files that belong to a model's text, by name.

    Raises
    ------
    NoTokenizer
        The vocabulary is no byte-level BPE, or split in a way that is not known.
    CheckpointError
        It is damaged.
    """
    values = file.values
    kind, split = values.get(f"{_KEY}model"), values.get(f"{_KEY}pre")
    if kind != "gpt2":
        raise NoTokenizer(f"the vocabulary is of kind {shown(kind)}; only 'gpt2' (BPE) is read")
    if split not in _PATTERNS:
        raise NoTokenizer(f"the vocabulary splits texts as {shown(split)}, which is not known")
    tokens, merges = _strings(file, "tokens"), _strings(file, "merges")
    kinds = values.get(f"{_KEY}token_type", [])
    if not isinstance(kinds, list) or len(kinds) not in (0, len(tokens)):
        raise CheckpointError(f"{file.path}: {_KEY}token_type does not fit its tokens; {AGAIN}")
    said = {"bos_token": _named(file, "bos", tokens), "eos_token": _named(file, "eos", tokens)}
    tokenizer = _tokenizer(file, tokens, merges, kinds, str(split))
    if values.get(f"{_KEY}add_bos_token", split in _WHOLE_WORDS) and (bos := said["bos_token"]):
        first = processors.TemplateProcessing(
            single=[bos, "$A"], special_tokens=[(bos, values[f"{_KEY}bos_token_id"])]
        )
        tokenizer.post_processor = first
    config: dict[str, Any] = {name: token for name, token in said.items() if token is not None}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    files = {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": _json(config)}
    if isinstance(template := values.get("tokenizer.chat_template"), str):
        files["chat_template.jinja"] = template
    ends = [values.get(f"{_KEY}{name}_token_id") for name in ("eos", "eot")]
    if len(found := list(dict.fromkeys(i for i in ends if type(i) is int))) > 1:
        files["generation_config.json"] = _json({"eos_token_id": found})
    return files


def _tokenizer(
    file: GgufFile, tokens: list[str], merges: list[str], kinds: list[int], split: str
) -> Tokenizer:
    unused = {TokenType.UNUSED.value}
    vocabulary = {token: i for i, token in enumerate(tokens) if not kinds or kinds[i] not in unused}
    pairs = [(merge[:cut], merge[cut + 1 :]) for merge in merges if (cut := merge.find(" ", 1)) > 0]
    try:
        model = models.BPE(
            vocab=vocabulary, merges=pairs, ignore_merges=split in _WHOLE_WORDS, fuse_unk=False
        )
    except Exception as error:  # tokenizers raises bare Exception
        cause = shown(str(error)).strip("'\"")
        raise CheckpointError(f"{file.path}: no vocabulary of BPE: {cause}; {AGAIN}") from None
    tokenizer = Tokenizer(model)
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in _PATTERNS[split]]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    for i, token in enumerate(tokens if kinds else []):
        if token and kinds[i] in (TokenType.CONTROL.value, TokenType.USER_DEFINED.value):
            special = kinds[i] == TokenType.CONTROL.value
            added = AddedToken(token, special=special, normalized=False)
            tokenizer.add_special_tokens([added]) if special else tokenizer.add_tokens([added])
    return tokenizer


def _strings(file: GgufFile, name: str) -> list[str]:
    found = file.values.get(f"{_KEY}{name}")
    if not isinstance(found, list) or not found or type(found[0]) is not str:
        raise CheckpointError(f"{file.path}: {_KEY}{name} is no list of strings; {AGAIN}")
    return found


def _named(file: GgufFile, name: str, tokens: list[str]) -> str | None:
    """Return the token that a key names by its number."""
    number = file.values.get(f"{_KEY}{name}_token_id")
    if number is None:
        return None
    if type(number) is not int or not 0 <= number < len(tokens):
        raise CheckpointError(
            f"{file.path}: {_KEY}{name}_token_id is {shown(number)}, and there are {len(tokens)} "
            f"tokens; {AGAIN}"
        )
    return tokens[number]


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
