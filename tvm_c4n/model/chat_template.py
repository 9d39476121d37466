"""Chat templates: the messages of a chat to the text that a model was trained on.

A template is a program in Jinja that comes with the model, in chat_template.jinja or in
tokenizer_config.json, and it is rendered as transformers renders it. It is a stranger's program:
`tvm_c4n.model.chat_renderer` runs it in a process of its own, which the system ends when it takes
too long or too much memory.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tvm_c4n.checkpoint.json_reading import parse_json, read_json
from tvm_c4n.checkpoint.reading import MAX_CONFIG_BYTES, check_head, read_text
from tvm_c4n.errors import C4nError, CheckpointError, shown
from tvm_c4n.model.render_process import RenderProcess

TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
SPECIAL_TOKENS = "special_tokens_map.json"
# All files that `read_chat_template` reads.
CHAT_FILES = (TEMPLATE, TOKENIZER_CONFIG, SPECIAL_TOKENS)
# The longest that are around have some 20 kB.
MAX_TEMPLATE_BYTES = 1 << 18
# What a template may write, and what rendering it may take. jinja2 itself takes some 50 MB.
MAX_CHARACTERS = 1 << 24
MAX_CPU_SECS = 5
MAX_MEMORY_BYTES = 1 << 29
# A machine that gives a process no CPU for that long has other troubles.
_MAX_SECS = 120
# Names that a message's thoughts have; templates read the first two.
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_AGAIN = "download the model again"

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ChatTemplate:
    """A model's template, and the special tokens that it may name.

    Attributes
    ----------
    path : Path
        The file that has it.
    source : str
        In Jinja.
    tokens : mapping of str to str
        ``bos_token`` and others, where the model has them.
    """

    path: Path
    source: str
    tokens: Mapping[str, str]

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        process: RenderProcess | None = None,
        **variables: Any,
    ) -> str:
        """Return the text of a chat.

        Parameters
        ----------
        messages : sequence of mappings
            Each with ``role`` (``"system"``, ``"user"``, ``"assistant"``, ...) and ``content``, and
            whatever else the template reads; JSON values.
        add_generation_prompt : bool
            Whether the text ends with the start of an answer.
        process : RenderProcess, optional
            One that was started before; it is used up.
        **variables
            Others that the template reads: ``tools``, ``documents``, ``enable_thinking``.

        Raises
        ------
        CheckpointError
            The template is wrong, refuses the messages, or takes more time, memory or characters
            than `MAX_CPU_SECS`, `MAX_MEMORY_BYTES` and `MAX_CHARACTERS` allow.
        C4nError
            Messages that are none.
        """
        given = {
            "tools": None,
            "documents": None,
            **self.tokens,
            **variables,
            "messages": _checked(messages),
            "add_generation_prompt": add_generation_prompt,
        }
        request = {
            "template": self.source,
            "variables": given,
            "max_characters": MAX_CHARACTERS,
            "seconds": MAX_CPU_SECS,
            "size_bytes": MAX_MEMORY_BYTES,
        }
        try:
            text = json.dumps(request)
        except (TypeError, ValueError, RecursionError) as error:
            raise C4nError(f"messages are no JSON values: {error}") from None
        answer = self._answer(text, process or RenderProcess())
        if "text" not in answer:
            self._fail(str(answer.get("error")))
        return str(answer["text"])

    def _answer(self, request: str, process: RenderProcess) -> dict[str, Any]:
        done = process.ask(request, _MAX_SECS)
        if done is None:
            self._fail(f"takes more than {_MAX_SECS} s")
        if done.code in (-signal.SIGXCPU, -signal.SIGKILL):
            self._fail(f"takes more than {MAX_CPU_SECS} s")
        if done.code:
            last = done.err.strip().rpartition("\n")[2]
            self._fail(f"cannot be rendered: {last or f'signal {-done.code}'}")
        return parse_json(done.out, str(self.path), _AGAIN)

    def _fail(self, said: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: the chat template {said}")


def read_chat_template(folder: Path, name: str | None = None) -> ChatTemplate | None:
    """Read a model's template; None if it has none.

    As in transformers 5, chat_template.jinja comes before tokenizer_config.json, whose
    ``chat_template`` is a template or a list of named ones; ``default`` is taken.

    Parameters
    ----------
    folder : Path
    name : str, optional
        Of a template of the list, instead of ``default``.

    Raises
    ------
    CheckpointError
        A file is damaged or another one in its place, the template is too large, or there is none
        of that name.
    """
    path, config = folder / TOKENIZER_CONFIG, _optional_json(folder / TOKENIZER_CONFIG)
    single = folder / TEMPLATE
    if single.exists() and name is None:
        check_head(single, _AGAIN)
        source: Any = read_text(single, MAX_TEMPLATE_BYTES, _AGAIN)
        path = single
    else:
        source = config.get("chat_template")
        if isinstance(source, list):
            source = _named(path, source, name or "default")
        elif name is not None:
            raise CheckpointError(f"{path}: has no chat template {shown(name)}")
    if source is None:
        return None
    if not isinstance(source, str) or len(source.encode(errors="replace")) > MAX_TEMPLATE_BYTES:
        raise CheckpointError(
            f"{path}: chat_template is no text of at most {MAX_TEMPLATE_BYTES} bytes; {_AGAIN}"
        )
    return ChatTemplate(path, source, _special_tokens(folder, config))


def require_chat_template(folder: Path, name: str | None = None) -> ChatTemplate:
    """Read a model's template.

    Raises
    ------
    CheckpointError
        As `read_chat_template`, and if the model has none.
    """
    found = read_chat_template(folder, name)
    if found is None:
        raise CheckpointError(
            f"{folder}: has no chat template ({TEMPLATE}, or chat_template in {TOKENIZER_CONFIG}), "
            "so the model continues texts and does not answer: give it a text instead"
        )
    return found


def _named(path: Path, templates: list[Any], name: str) -> Any:
    """Return a template of a list."""
    found = {
        one["name"]: one.get("template")
        for one in templates
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    }
    if name not in found:
        known = ", ".join(map(shown, found)) or "none"
        raise CheckpointError(f"{path}: has no chat template {shown(name)}; it has {known}")
    return found[name]


def _special_tokens(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the special tokens; older folders have them in a file of their own."""
    own = {} if "added_tokens_decoder" in config else _optional_json(folder / SPECIAL_TOKENS)
    found = {}
    for key in (f"{name}_token" for name in _NAMES):
        token = own.get(key, config.get(key))
        if isinstance(token, dict):  # older versions save all that is known of a token
            token = token.get("content")
        if isinstance(token, str):
            found[key] = token
    return found


def _checked(messages: Messages) -> list[dict[str, Any]]:
    """Return messages as transformers hands them to a template.

    What is None, which templates take for a text, is left out; thoughts have the names that
    templates read.
    """
    if isinstance(messages, str | bytes | Mapping) or not messages:
        raise C4nError('messages are no list of objects like {"role": "user", "content": "Hello"}')
    found = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise C4nError(f"{shown(message)} is no message with a role and content")
        said = {key: value for key, value in message.items() if value is not None}
        thoughts = next((said[name] for name in _THOUGHTS if name in said), None)
        if thoughts is not None:
            said = {"thinking": thoughts, **said, "reasoning_content": thoughts}
        found.append(said)
    return found


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path, MAX_CONFIG_BYTES, _AGAIN) if path.exists() else {}
