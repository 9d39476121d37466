"""Chats as transformers writes them, and templates that would do harm.

The templates are written here, in the ways of models that are around.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.models import HF
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.model import chat_template
from tvm_c4n.model.chat_template import ChatTemplate, read_chat_template
from tvm_c4n.model.tokenizer import load_tokenizer

Write = Callable[..., Path]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|start_of_role|>", "<|end_of_role|>", "<s>", "</s>"]
TOKENS = {
    "bos_token": "<s>",
    "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
}
ASK = [{"role": "user", "content": "How high is  the bridge?"}]
CHAT = [
    {"role": "system", "content": " Answer in one word.\n"},
    *ASK,
    {"role": "assistant", "content": "High"},
    {"role": "user", "content": "Is <|im_end|> \"quoted\" & 'safe' <b>?\n"},
]
CALL = [
    *ASK,
    {"role": "assistant", "content": None, "tool_calls": [{"name": "ask", "arguments": {"b": 1}}]},
    {"role": "tool", "content": "über 40 m"},
]
TOOLS = [{"name": "ask", "parameters": {"type": "object", "properties": {"z": {}, "ä": {"t": 1}}}}]

CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' + message.content + '<|im_end|>' + '\n' }}
{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

LLAMA = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set said = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set said = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " + strftime_now("%Y") + "\\n" }}
{{- said }}<|eot_id|>
{%- for message in messages if message.role in ['user', 'assistant'] %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

GRANITE = """{%- set tools_text = namespace(text='') %}
{%- if tools %}
    {%- for tool in tools %}
        {%- set tools_text.text = tools_text.text + '\\n' + (tool | tojson) %}
    {%- endfor %}
{%- endif %}
{%- macro turn(role, text) %}
<|start_of_role|>{{ role }}<|end_of_role|>{{ text }}<|end_of_text|>
{% endmacro %}
{%- set ns = namespace(system=None, turns=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' and ns.system is none %}
        {%- set ns.system = message.content %}
        {%- continue %}
    {%- endif %}
    {%- set ns.turns = ns.turns + 1 %}
    {%- if loop.index > 9 %}{% break %}{% endif %}
    {%- if message.tool_calls is defined and message.tool_calls %}
        {{- turn('assistant', '<tool_call>' ~ message.tool_calls[0] | tojson(indent=2)) }}
    {%- else %}
        {{- turn(message.role, message.content) }}
    {%- endif %}
{%- endfor %}
{{- turn('system', (ns.system or 'You help.') ~ tools_text.text) if tools or ns.system }}
{%- if documents %}{{ documents | map(attribute='text') | join('|') }}{% endif %}
{%- if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}
  {{- ns.turns }}"""

FALCON = """{{bos_token}}
  {%- for message in messages %}
    {% if not loop.first and messages[loop.index0 - 1].role == message.role %}
      {{ raise_exception('Roles must alternate') }}
    {% endif %}
<|im_start|>{{ message.role | capitalize }}: {{ message.content.strip() | replace('<b>', '') }}
    {%- if loop.last and not add_generation_prompt %}{{ eos_token }}{% else %}

{% endif %}
  {% generation %}{% if message.role == 'assistant' %}!{% endif %}{% endgeneration %}
  {%- endfor %}
{% if add_generation_prompt and not (enable_thinking | default(true)) %}<think></think>{% endif %}
{#- a comment -#}   {{ unk_token | default('none', true) }}{{ nothing }}
"""
TEMPLATES = {"chatml": CHATML, "llama": LLAMA, "granite": GRANITE, "falcon": FALCON}


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write a model's small files with a template, as text or as the file."""

    def make(source: Any, file: str | None = None, **config: Any) -> Path:
        folder: Path = tmp_path_factory.mktemp("chat")
        raw = Tokenizer(models.BPE({chr(c): c - 32 for c in range(32, 0x100)}, []))
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.add_special_tokens(SPECIAL)
        raw.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(
            json.dumps({**HF, "vocab_size": 300, "eos_token_id": 1})
        )
        content = {"tokenizer_class": "PreTrainedTokenizerFast", **TOKENS, **config}
        if source is not None:
            content["chat_template"] = source
        (folder / "tokenizer_config.json").write_text(json.dumps(content))
        if file is not None:
            (folder / "chat_template.jinja").write_text(file)
        return folder

    return make


# Each of their texts is a process of its own.
@pytest.mark.parametrize("as_file", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_and_tokens_are_those_of_transformers(name: str, as_file: bool, write: Write) -> None:
    source = TEMPLATES[name]
    folder = write("{{ 'never' }}", source) if as_file else write(source)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = load_tokenizer(folder)
    assert theirs.chat_template == source
    variants: list[tuple[Any, dict[str, Any]]] = [
        (CHAT, {}),
        (ASK, {}),
        (CHAT, {"tools": TOOLS, "documents": [{"title": "a", "text": "b"}]}),
        (ASK, {"enable_thinking": False}),
    ]
    if name == "granite":
        variants.append((CALL, {"tools": TOOLS}))
    for messages, given in variants:
        for prompt in (True, False):
            options = {**given, "add_generation_prompt": prompt}
            expected = theirs.apply_chat_template(messages, tokenize=False, **options)
            assert ours.apply_chat_template(messages, **options) == expected
            ids = theirs.apply_chat_template(messages, return_dict=False, **options)
            assert ours.chat(messages, **options) == ids
            assert len(ids) > 5


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_have_the_names_that_templates_read(name: str, write: Write) -> None:
    folder = write("{% for m in messages %}{{ m | tojson(sort_keys=true) }}{% endfor %}")
    messages = [*ASK, {"role": "assistant", "content": None, name: "Hm."}, *ASK]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs.apply_chat_template(messages, tokenize=False)
    assert load_tokenizer(folder).apply_chat_template(messages) == expected
    assert '"reasoning_content": "Hm."' in expected


def test_named_templates_and_which_file_counts(write: Write) -> None:
    named = [{"name": "default", "template": "one"}, {"name": "rag", "template": "two"}]
    folder = write(named)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.apply_chat_template(ASK) == "one"
    assert tokenizer.apply_chat_template(ASK, template="rag") == "two"
    with pytest.raises(CheckpointError, match=r"no chat template 'x'; it has 'default', 'rag'"):
        tokenizer.apply_chat_template(ASK, template="x")
    (folder / "chat_template.jinja").write_text("three")
    assert tokenizer.apply_chat_template(ASK) == "three"
    with pytest.raises(CheckpointError, match="has no chat template 'x'"):
        load_tokenizer(write("one")).apply_chat_template(ASK, template="x")
    assert read_chat_template(write(None)) is None
    with pytest.raises(CheckpointError, match=r"has no chat template \(chat_template.jinja, or"):
        load_tokenizer(write(None)).apply_chat_template(ASK)


def test_older_folders_name_tokens_in_a_file_of_their_own(write: Write) -> None:
    folder = write("{{ bos_token }}{{ pad_token }}")
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": {"content": "<s>"}, "pad_token": "</s>"})
    )
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs.apply_chat_template(ASK, tokenize=False)
    assert load_tokenizer(folder).apply_chat_template(ASK) == expected == "<s></s>"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "no list of objects"),
        ("Hello", "no list of objects"),
        ({"role": "user"}, "no list of objects"),
        (["Hello"], "'Hello' is no message"),
        ([{"content": "Hello"}], "is no message"),
        ([{"role": "user", "content": {1, 2}}], "messages are no JSON values"),
    ],
)
def test_what_are_no_messages_is_refused(messages: Any, said: str, write: Write) -> None:
    with pytest.raises(C4nError, match=said):
        load_tokenizer(write(CHATML)).apply_chat_template(messages)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('Only users\nmay speak') }}", "chat template says: Only users may"),
        ("a\nb {% if %}", "chat template line 2: "),
        ("{{ messages[0].nothing.at.all }}", "UndefinedError: "),
        ("{% include '/etc/passwd' %}", "TypeError: no loader"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError|UndefinedError"),
        ("{{ messages.append(1) }}", "SecurityError: "),
        ("{{ range(100001) | list }}", "OverflowError: Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "is nested too deeply"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "is nested too deeply|cannot be rendered"),
        ("{{ 'a' * 10 ** 10 }}", "takes too much memory"),
        ("{{ '%99999999999d' % 1 }}", "MemoryError|too much memory|OverflowError|ValueError"),
        ("{{ 'a' | indent(10 ** 10) }}", "takes too much memory"),
        (
            "{% set n = namespace(s='aa') %}"
            "{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "takes too much memory",
        ),
        ("{% for i in range(99999) %}{{ 'a' * 999 }}{% endfor %}", "writes more than 16777216"),
        (3, "chat_template is no text"),
        ([{"name": "default"}], "^.*"),
    ],
)
def test_templates_that_are_wrong_or_eat_memory_end_in_one_line(
    source: Any, said: str, write: Write
) -> None:
    folder = write(source)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_tokenizer(folder).apply_chat_template(ASK)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        # One call of C code: no loop of the template's.
        "{{ 9 ** (9 ** 9) }}",
        # Two nested lists of 2 ** 60 ends: comparing them takes for ever, and no memory.
        "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
        "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}",
    ],
)
def test_templates_without_end_are_ended(
    source: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "MAX_CPU_SECS", 1)
    with pytest.raises(CheckpointError, match=r"the chat template takes more than 1 s$"):
        load_tokenizer(write(source)).apply_chat_template(ASK)


def test_a_template_is_read_within_bounds(write: Write) -> None:
    folder = write(None, "a" * (chat_template.MAX_TEMPLATE_BYTES + 1))
    with pytest.raises(CheckpointError, match=r"chat_template.jinja: 262145 bytes is too large"):
        read_chat_template(folder)
    (folder / "chat_template.jinja").write_text("<!doctype html><html>")
    with pytest.raises(CheckpointError, match=r"chat_template.jinja: a web page"):
        read_chat_template(folder)
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="not UTF-8"):
        read_chat_template(folder)
    large = write("a" * (chat_template.MAX_TEMPLATE_BYTES + 1))
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json: chat_template is no text"):
        read_chat_template(large)


def test_a_template_writes_no_file_and_starts_in_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert ChatTemplate(tmp_path, "{{ 1 + 1 }}", {}).render(ASK) == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["jinja2.py"]
