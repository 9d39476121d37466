"""Error lines of the verbs that use models: run, serve, eval, bench."""

from __future__ import annotations

import socket
from contextlib import suppress

from tests.cli.errors.case import Case
from tests.cli.errors.spoiled import put

NO_MODEL = (
    "none: no such folder; give one, or one of mamba-19m, mamba-19m-mixed, mamba-19m-n2-int4, "
    "mamba-19m-n3-int4, mamba-19m-s30-int4, granite-h-20m, granite-h-20m-s30-int4"
)
LINE = 'a line looks like {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'
NOTHING = "nothing to measure: needs a model, threads, a test of 1 token and 1 rep"

# What can be said of a request is said before a model is compiled for it: `model` is a folder.
RUN = [
    Case("no such model", "run none", NO_MODEL),
    Case("nothing to generate", "run model -n 0", "cannot generate 0 tokens; use 1 or more"),
    Case(
        "a temperature below 0",
        "run model --temp -1",
        "temperature is -1.0; use 0 (most likely token) or more",
    ),
    Case("a seed below 0", "run model --seed -1", "seed is -1; use 0 or more"),
    Case("no threads", "run model.art -t 0", "threads is 0; this machine takes 1 to 2"),
    Case(
        "no such file", "run model.art -f none", "none: cannot be read: No such file or directory"
    ),
    Case(
        "a folder as the prompt", "run model.art -f model", "model: cannot be read: Is a directory"
    ),
    Case(
        "two prompts",
        "run model.art -p a -f text.jsonl",
        "--prompt and --file both say what to continue: give one of them",
    ),
    Case(
        "stdin is no text",
        "run model.art",
        "stdin: not UTF-8 text (byte 0); save it as UTF-8",
        stdin="\udcff",
    ),
    Case(
        "a chat with a model that continues texts",
        "run model --chat -p a",
        "model: has no chat template (chat_template.jinja, or chat_template in "
        "tokenizer_config.json), so the model continues texts and does not answer: give it a "
        "text instead",
    ),
    Case(
        "a chat of nothing",
        "run model.art --chat -p ''",
        "--chat answers something: say it with --prompt, --file or on stdin",
    ),
    Case("a system without a chat", "run model.art --system a -p a", "--system needs --chat"),
    Case("top-k below 0", "run model --top-k -1 -p a", "top_k is -1; use 0 (all tokens) or more"),
    Case("top-p above 1", "run model --top-p 2 -p a", "top_p is 2.0; use 0 to 1 (all tokens)"),
    Case("min-p above 1", "run model --min-p 2 -p a", "min_p is 2.0; use 0 (all tokens) to 1"),
    Case(
        "a penalty of 0",
        "run model --repeat-penalty 0 -p a",
        "repeat_penalty is 0.0; use more than 0 (1: none)",
    ),
    Case(
        "a window below -1",
        "run model --repeat-last-n -2 -p a",
        "repeat_last_n is -2; use -1 (the whole text), 0 (none) or more",
    ),
    Case(
        "an empty stop string",
        "run model --stop '' -p a",
        "a stop string is empty, which every text begins with; leave it out",
    ),
    Case("no samples", "run model --samples 0 -p a", "cannot write 0 samples; use 1 or more"),
    Case(
        "samples that are all alike",
        "run model --samples 3 -p a",
        "--samples 3 needs --temp above 0: all would be the same text",
    ),
    Case(
        "the state of several texts",
        "run model --samples 3 --temp 1 --save-state a -p a",
        "--samples and --save-state exclude each other: a state is that of one text; give one of "
        "them",
    ),
    Case(
        "a prompt beside a file of them",
        "run model --jsonl text.jsonl -p a",
        "--jsonl and --prompt exclude each other: a file of prompts says it line by line; give one "
        "of them",
    ),
    Case(
        "lines that are no prompts",
        "run model --jsonl text.jsonl",
        f"text.jsonl: line 1: unknown key 'text'; {LINE}",
    ),
    Case(
        "a line of prompts is cut off",
        "run model --jsonl text.jsonl",
        f"text.jsonl: line 2: not valid JSON (Expecting value: column 12); {LINE}",
        spoil=put("text.jsonl", '{"prompt": "a"}\n{"prompt": \n'),
    ),
    Case("no such file of prompts", "run model --jsonl none", f"none: missing file; {LINE}"),
]

# A port that `occupy` takes; if another program has it, all the better.
BUSY = 47831
_TAKEN: list[socket.socket] = []


def occupy() -> None:
    """Listen on a port until the tests end."""
    with suppress(OSError):
        _TAKEN.append(socket.create_server(("127.0.0.1", BUSY)))


KEY = "a key has 16 to 1024 printable ASCII characters; make one with 'openssl rand -hex 24'"
SERVE = [
    Case("no such model", "serve none --port 0", NO_MODEL),
    Case(
        "two models of one name",
        "serve model.art model.art --port 0",
        "two models are called model: rename the folder of one",
    ),
    Case(
        "an address of the network without a key",
        "serve model.art --host 0.0.0.0",
        "--host 0.0.0.0 lets other machines in: give a key with --api-key-file FILE, or in "
        "TVM_C4N_API_KEY",
    ),
    Case(
        "an address of another machine",
        "serve model.art --host 192.0.2.1 --api-key-file key --port 8081",
        "cannot listen on 192.0.2.1:8081: Cannot assign requested address; use another --host or "
        "--port",
        spoil=lambda folder: (folder / "key").write_text("0123456789abcdef"),
    ),
    Case(
        "another program on the port",
        f"serve model.art --port {BUSY}",
        f"cannot listen on 127.0.0.1:{BUSY}: Address already in use; use another --host or --port",
        spoil=lambda folder: occupy(),
    ),
    Case(
        "no such address",
        "serve model.art --host no.such.host.invalid",
        "--host no.such.host.invalid: no such address on this machine",
    ),
    Case(
        "no such key",
        "serve model.art --api-key-file none",
        "none: cannot be read: No such file or directory",
    ),
    Case(
        "a short key",
        "serve model.art --api-key-file key",
        f"key: {KEY}",
        spoil=lambda folder: (folder / "key").write_text("secret\n"),
    ),
    Case(
        "a key that is no text",
        "serve model.art --api-key-file model.art/weights.bin",
        f"model.art/weights.bin: {KEY}",
    ),
    Case("no slots", "serve model.art --slots 0", "slots is 0; use 1 or more"),
    Case("a queue below 0", "serve model.art --queue -1", "queue is -1; use 0 or more"),
    Case("no time", "serve model.art --request-secs 0", "request_secs is 0.0; use 1 or more"),
    Case("no threads", "serve model.art --port 0 -t 0", "threads is 0; this machine takes 1 to 2"),
]

CHAT = [
    Case("no such model", "chat none", NO_MODEL),
    Case("answers of nothing", "chat model -n 0", "cannot generate 0 tokens; use 1 or more"),
    Case("top-k below 0", "chat model --top-k -1", "top_k is -1; use 0 (all tokens) or more"),
    Case(
        "a system for a model that continues texts",
        "chat model.art --system a",
        "model.art: has no chat template, so --system has no place in its texts",
    ),
    Case(
        "no such state",
        "chat model.art --load-state none",
        "none: missing file; give a file that --save-state, or /save in a chat, has written",
    ),
    Case(
        "stdin is no text",
        "chat model.art",
        "stdin: not UTF-8 text (byte 0 of a line); send it as UTF-8",
        stdin="\udcff",
    ),
]

CACHE = [
    Case("no such action", "cache none", "cache none: use 'cache list' or 'cache clear'"),
    Case(
        "a list of some models",
        "cache list mamba-19m",
        "cache list shows all models: leave the names out",
    ),
    Case(
        "a model that is not there",
        "cache clear mamba-19",
        "mamba-19: no such model in the cache; 'tvm-c4n cache list' shows them",
    ),
]

EVAL = [
    Case("no such model", "eval none", NO_MODEL),
    Case("no such text", "eval model.art --text none", "none: missing file; give a text file"),
    Case(
        "a folder as the text",
        "eval model.art --text model",
        "model: not a regular file; give a text file",
    ),
    Case(
        "windows of nothing",
        "eval model.art --window 0",
        "cannot score windows of 0 tokens; use --window 1 or more",
    ),
    Case(
        "no windows",
        "eval model.art --max-windows 0",
        "cannot score 0 windows; use --max-windows 1 or more",
    ),
    Case(
        "no such tasks",
        "eval model.art --tasks none.jsonl",
        'none.jsonl: missing file; a line looks like {"context": "...", "options": ["..."], '
        '"answer": 0}',
    ),
    Case(
        "no items",
        "eval model.art --tasks blimp --max-items 0",
        "cannot score 0 items; use --max-items 1 or more",
    ),
    Case("items of a text", "eval model.art --max-items 2", "--max-items needs --tasks"),
    Case(
        "windows of tasks",
        "eval model.art --tasks blimp --window 64",
        "--window needs --text beside --tasks",
    ),
    Case(
        "no such backend",
        "eval model.art --backend numpy",
        "backend 'numpy' is not compiled or torch",
    ),
    Case(
        "torch with an artifact",
        "eval model.art --backend torch",
        "model.art: a compiled model; give the folder it was compiled from",
    ),
    Case(
        "threads that torch does not heed",
        "eval model --backend torch -t 2",
        "--threads needs --backend compiled",
    ),
]

BENCH = [
    Case("no such model", "bench none", NO_MODEL),
    Case("no rounds", "bench model.art --reps 0", NOTHING),
    Case("no tests", "bench model.art --n-prompt 0 --n-gen 0", NOTHING),
    Case("no numbers", "bench model.art -t one", "--threads one: not numbers; use 1 or 1,2"),
    Case(
        "more threads than cores",
        "bench model.art -t 4096",
        "threads is 4096; this machine takes 1 to 2",
    ),
    Case(
        "kernels of an artifact",
        "bench model.art --profile",
        "model.art is compiled: --profile takes the model folder it was made of",
    ),
    Case(
        "no minutes",
        "bench model.art --sustained 0",
        "--sustained 0: use minutes above 0, at most 1440",
    ),
    Case(
        "minutes of two models",
        "bench model.art model.art --sustained 1",
        "--sustained takes one model and one number of threads: they are to be warm",
    ),
    Case(
        "rounds of minutes",
        "bench model.art --sustained 1 --reps 2",
        "--reps needs a run without --sustained",
    ),
    Case(
        "rounds of a profile",
        "bench model --profile --reps 2",
        "--reps needs a run without --profile",
    ),
]
