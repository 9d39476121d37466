"""`tvm-c4n run`."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from tvm_c4n.cli.conflicts import refuse_together, refuse_without
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.cli.prompt import FILE_HELP, PROMPT_HELP, read_prompt
from tvm_c4n.cli.requests import JSONL_HELP, Request, read_requests
from tvm_c4n.cli.sampling import (
    Limit,
    MinP,
    Model,
    RepeatLastN,
    RepeatPenalty,
    Seed,
    Stop,
    Temp,
    Threads,
    TopK,
    TopP,
    params_of,
)
from tvm_c4n.errors import C4nError

File = Annotated[Path | None, typer.Option("--file", "-f", help=FILE_HELP)]
Chat = Annotated[
    bool, typer.Option("--chat", help="Answer the prompt, put into the model's chat template.")
]
System = Annotated[
    str | None, typer.Option("--system", help="With --chat: what the system says first.")
]
Samples = Annotated[int, typer.Option("--samples", help="Continue it so often; needs --temp.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON: text, tokens, finish_reason, timings.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the text and errors.")]
SaveState = Annotated[
    Path | None, typer.Option("--save-state", help="Write the state after the text to this file.")
]
LoadState = Annotated[
    Path | None, typer.Option("--load-state", help="The prompt follows the text of this state.")
]


def run(
    context: typer.Context,
    model: Model,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help=PROMPT_HELP)] = None,
    file: File = None,
    jsonl: Annotated[Path | None, typer.Option("--jsonl", help=JSONL_HELP)] = None,
    limit: Limit = 64,
    temp: Temp = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repeat_penalty: RepeatPenalty = 1.0,
    repeat_last_n: RepeatLastN = 64,
    stop: Stop = None,
    seed: Seed = 0,
    samples: Samples = 1,
    threads: Threads = None,
    chat: Chat = False,
    system: System = None,
    load_state: LoadState = None,
    save_state: SaveState = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue a prompt, or answer it: the text on stdout, the speed on stderr."""
    refuse_without(context, ["system"], "--chat", chat)
    of_one = ["prompt", "file", "chat", "load_state", "save_state"]
    refuse_together(context, "jsonl", of_one, "a file of prompts says it line by line")
    refuse_together(context, "samples", ["save_state"], "a state is that of one text")
    refuse_together(context, "load_state", ["system"], "a chat that has begun has its system")
    if samples < 1:
        raise C4nError(f"cannot write {samples} samples; use 1 or more")
    if samples > 1 and temp == 0:
        raise C4nError(f"--samples {samples} needs --temp above 0: all would be the same text")
    if save_state is not None and (save_state.is_dir() or not save_state.parent.is_dir()):
        raise C4nError(f"{save_state}: cannot be written: give a file in a folder that exists")
    requests = read_requests(jsonl) if jsonl else [_request(prompt, file, chat, system)]
    began = perf_counter()
    with ProgressBar("loading") as bar:
        from tvm_c4n.checkpoint import locate
        from tvm_c4n.cli.writing import Writer
        from tvm_c4n.compile.cache import load
        from tvm_c4n.model.chat_template import require_chat_template
        from tvm_c4n.runtime.continuation import check_limit
        from tvm_c4n.runtime.saved_state import load_state as read_state

        # What can be said of a request is said before a model is compiled for it.
        check_limit(limit)
        params = params_of(context)
        folder = locate(model, bar)
        if any(request.messages for request in requests) and folder.is_dir():
            require_chat_template(folder)
        engine = load(folder, threads=threads, progress=bar, notify=None if quiet else bar.notify)
        saved = read_state(load_state, engine.fingerprint, engine.config) if load_state else None
        if saved is not None and chat and not saved.messages:
            raise C4nError(f"{load_state}: holds a text and no chat: leave out --chat")
    writer = Writer(engine, params, limit, samples, perf_counter() - began, saved)
    if jsonl:
        writer.all_json(requests)
        return
    if as_json:
        writer.json(requests[0])
    else:
        writer.text(requests[0], quiet=quiet)
    if save_state is not None:
        writer.save(save_state, requests[0])


def _request(prompt: str | None, file: Path | None, chat: bool, system: str | None) -> Request:
    """Return the one request that the options make."""
    text = read_prompt(prompt, file)
    if not chat:
        return Request(text)
    if not text:
        raise C4nError("--chat answers something: say it with --prompt, --file or on stdin")
    said = {"system": system, "user": text}
    messages = [{"role": role, "content": what} for role, what in said.items() if what is not None]
    return Request(messages=messages)
