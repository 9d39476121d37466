"""`tvm-c4n run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, write_text
from tvm_c4n.cli.prompt import FILE_HELP, PROMPT_HELP, read_prompt
from tvm_c4n.errors import C4nError


def run(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model (mamba-19m-s30-int4), model folder, or artifact. The "
            "first two are compiled when first used, and kept in ~/.cache/tvm-c4n."
        ),
    ],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help=PROMPT_HELP)] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help=FILE_HELP)] = None,
    tokens: Annotated[int, typer.Option("-n", help="Generate at most this many tokens.")] = 64,
    temp: Annotated[
        float, typer.Option(help="Temperature; 0: always the most likely token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="For --temp above 0: same seed, same text.")] = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
    ] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="Answer the prompt, put into the model's chat template."),
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", help="With --chat: what the system says first.")
    ] = None,
) -> None:
    """Continue a prompt, or answer it: the text on stdout, the speed on stderr."""
    refuse_without(context, ["system"], "--chat", chat)
    text = read_prompt(prompt, file)
    if chat and not text:
        raise C4nError("--chat answers something: say it with --prompt, --file or on stdin")
    with ProgressBar("loading") as bar:
        from tvm_c4n.assets import resolve
        from tvm_c4n.compile.cache import load
        from tvm_c4n.model.chat_template import require_chat_template
        from tvm_c4n.runtime.continuation import check_limit
        from tvm_c4n.runtime.generate import Stats, generate
        from tvm_c4n.runtime.sampling import SamplingParams

        # What can be said of a request is said before a model is compiled for it.
        check_limit(tokens)
        SamplingParams(temperature=temp, seed=seed)
        if chat and (folder := resolve(model)).is_dir():
            require_chat_template(folder)
        engine = load(model, threads=threads, progress=bar, notify=bar.notify)
    said = {"system": system, "user": text} if chat else {}
    messages = [{"role": role, "content": what} for role, what in said.items() if what is not None]
    given = engine.tokenizer.chat(messages) if chat else text
    stats = Stats()
    pieces = generate(engine, given, tokens, temperature=temp, seed=seed, stats=stats)
    write_text("" if chat else text, pieces)
    typer.echo(str(stats), err=True)
