"""A model's tokenizer, and which tokens start and end a text: as in transformers.

`eos_token_id` ends a text; a list ends it with any of its tokens. `bos_token_id` starts one that
has no tokens yet. What a prompt begins with is up to the post-processor of tokenizer.json; as in
transformers 5, `add_bos_token` of tokenizer_config.json changes nothing where that file is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.reading import MAX_CONFIG_BYTES, check_head, read_bytes, stand_in
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.chat_template import (
    CHAT_FILES,
    TOKENIZER_CONFIG,
    Messages,
    require_chat_template,
)
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.render_process import RenderProcess

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
GENERATION_CONFIG = "generation_config.json"
# All files that `load_tokenizer` and its tokenizer read.
TEXT_FILES = (TOKENIZER, GENERATION_CONFIG, CONFIG, *CHAT_FILES)

# What ends a text where no file says it: the token of GPT-NeoX, whose tokenizer Mamba has.
_END = "<|endoftext|>"
_AGAIN = "download the model again"
# Other files that tokenizers are kept in; transformers makes a tokenizer.json of any of them.
_OTHER_KINDS = ("tokenizer.model", "spiece.model", "vocab.json")
MAX_TOKENIZER_BYTES = 1 << 28


@dataclass(frozen=True)
class TextTokenizer:
    """The tokenizer of a model, and the tokens around a text.

    Attributes
    ----------
    tokenizer : tokenizers.Tokenizer
    start : int
        Starts a text of which nothing is known yet: the bos token, or the separator without one.
    ends : tuple of int
        Each of them ends a text; at least one.
    folder : Path, optional
        Where the model's chat template lies, if it has one.
    """

    tokenizer: Tokenizer
    start: int
    ends: tuple[int, ...]
    folder: Path | None = None

    @property
    def separator(self) -> int:
        """The token that stands behind each document of a text."""
        return self.ends[0]

    @property
    def vocab_size(self) -> int:
        """Tokens that the tokenizer knows."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Tokenise a piece of a text: nothing is put around it."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise pieces of text as `encode` does, at once."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [list(one.ids) for one in encoded]

    def prompt(self, text: str) -> list[int]:
        """Tokenise a prompt as transformers does: with what the tokenizer puts around a text.

        `start` stands for an empty one.
        """
        return list(self.tokenizer.encode(text).ids) or [self.start]

    def apply_chat_template(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        template: str | None = None,
        process: RenderProcess | None = None,
        **variables: Any,
    ) -> str:
        """Return the text of a chat, by the model's template, as in transformers.

        Parameters
        ----------
        messages : sequence of mappings
            ``{"role": "user", "content": "Hello"}`` and the like.
        add_generation_prompt : bool
            Whether the text ends with the start of an answer.
        template : str, optional
            Name of one of several templates.
        process : RenderProcess, optional
            One that was started before; it is used up.
        **variables
            Others that the template reads, such as ``tools``.

        Raises
        ------
        CheckpointError
            As `require_chat_template` and `ChatTemplate.render`.
        C4nError
            Messages that are none.
        """
        if self.folder is None:
            raise CheckpointError("a tokenizer without a folder has no chat template")
        found = require_chat_template(self.folder, template)
        return found.render(
            messages, add_generation_prompt=add_generation_prompt, process=process, **variables
        )

    def chat(self, messages: Messages, **options: Any) -> list[int]:
        """Tokenise a chat; options are those of `apply_chat_template`.

        The template writes all special tokens, so nothing is put around its text.
        """
        return self.encode(self.apply_chat_template(messages, **options))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens; special tokens have none."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def decode_batch(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts of rows of tokens."""
        found = self.tokenizer.decode_batch([list(row) for row in rows], skip_special_tokens=True)
        return [str(text) for text in found]


def load_tokenizer(folder: str | Path, config: Mapping[str, Any] | None = None) -> TextTokenizer:
    """Read a model's tokenizer and the tokens that start and end its texts.

    What generation_config.json says comes before what config.json says, and that before
    tokenizer_config.json; where none names an end, ``<|endoftext|>`` is it.

    Parameters
    ----------
    folder : path
        With tokenizer.json and, if the model has them, the other files.
    config : mapping, optional
        The content of config.json; read from the folder by default.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, is no such file, names a token that the model does not know,
        or no file names a token that ends a text.
    """
    folder = Path(folder)
    tokenizer = read_tokenizer(folder)
    if config is None:
        config = read_json(folder / CONFIG, MAX_CONFIG_BYTES, _AGAIN)
    vocab = describe_model(config).vocab_size
    said = {
        GENERATION_CONFIG: _optional_json(folder / GENERATION_CONFIG),
        CONFIG: config,
        TOKENIZER_CONFIG: _ids_of_names(folder, tokenizer),
    }
    starts, ends = (_named(folder, said, key, vocab) for key in ("bos_token_id", "eos_token_id"))
    if not ends:
        token = tokenizer.token_to_id(_END)
        if token is None:
            raise CheckpointError(
                f"{folder / CONFIG}: no eos_token_id here nor in {GENERATION_CONFIG}, and the "
                f"tokenizer has no {_END}; set eos_token_id to the token that ends a text"
            )
        ends = (int(token),)
    return TextTokenizer(tokenizer, (*starts, *ends)[0], ends, folder)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json`` alone.

    Raises
    ------
    CheckpointError
        Missing, damaged, or another file in its place.
    """
    path = folder / TOKENIZER
    if not path.exists():
        for other in (folder / name for name in _OTHER_KINDS):
            if other.is_file():
                check_head(other, _AGAIN)
                raise CheckpointError(
                    f"{path}: missing file, and {other.name} is not read; make it with "
                    "transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
                )
    remedy = f"copy the model's {TOKENIZER} there"
    data = read_bytes(path, MAX_TOKENIZER_BYTES, remedy)
    if found := stand_in(data):
        raise CheckpointError(f"{path}: {found}")
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # tokenizers raises bare Exception
        cause = shown(str(error)).strip("'\"")
        raise CheckpointError(f"{path}: not a tokenizer: {cause}; {_AGAIN}") from None


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path, MAX_CONFIG_BYTES, _AGAIN) if path.exists() else {}


def _ids_of_names(folder: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Read tokenizer_config.json, which names tokens by their text, as ids."""
    said = _optional_json(folder / TOKENIZER_CONFIG)
    found: dict[str, Any] = {}
    for key in ("bos_token", "eos_token"):
        name = said.get(key)
        if isinstance(name, dict):  # older versions save all that is known of a token
            name = name.get("content")
        if isinstance(name, str):
            found[f"{key}_id"] = tokenizer.token_to_id(name)
    return found


def _named(
    folder: Path, said: Mapping[str, Mapping[str, Any]], key: str, vocab: int
) -> tuple[int, ...]:
    """Return the tokens that the first file with an opinion names under a key; () without one."""
    for file, content in said.items():
        value = content.get(key)
        if value is None:
            continue
        ids = value if isinstance(value, list) else [value]
        if not ids or any(type(i) is not int or not 0 <= i < vocab for i in ids):
            raise CheckpointError(
                f"{folder / file}: {key} is {shown(value)}; it should be a token from 0 to "
                f"{vocab - 1}, or a list of such"
            )
        return tuple(dict.fromkeys(ids))
    return ()
