"""`tvm-c4n serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.console import ProgressBar, say
from tvm_c4n.errors import C4nError
from tvm_c4n.extras import require
from tvm_c4n.server import KEY_VARIABLE

# A key is typed once and kept in a file: short ones are guessed.
LEAST_KEY = 16
MOST_KEY = 1024


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Names of bundled models, model folders, org/name of the hub, or artifacts.",
            autocompletion=bundled,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine's needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            help=f"File with the key that requests must bring [variable {KEY_VARIABLE}].",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads at most [one per core].")
    ] = None,
    slots: Annotated[int, typer.Option(help="Answers of a model that are decoded together.")] = 8,
    queue: Annotated[int, typer.Option(help="Answers that wait; more get status 429.")] = 64,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 4096,
    max_prompt: Annotated[int, typer.Option(help="Tokens of a prompt at most.")] = 32768,
    request_secs: Annotated[float, typer.Option(help="Seconds of an answer at most.")] = 600.0,
    cache: Annotated[int, typer.Option(help="MiB of kept states of prompts.")] = 256,
) -> None:
    """Serve models over HTTP, with OpenAI's API and a chat page."""
    require("serve", "serve")
    key = read_key(key_file)
    with ProgressBar("loading") as bar:
        from tvm_c4n.compile.cache import cached_artifact
        from tvm_c4n.server.limits import Limits
        from tvm_c4n.server.running import Server, address_of, bind, log_to_stderr
        from tvm_c4n.server.service import start_service

        limits = Limits(
            slots=slots,
            queue=queue,
            max_tokens=max_tokens,
            max_prompt=max_prompt,
            request_secs=request_secs,
            cache_bytes=cache << 20,
        )
        limits.check()
        listener = bind(host, port, open_to_others=key is not None)
        artifacts = [
            cached_artifact(model, batch=True, progress=bar, notify=bar.notify) for model in models
        ]
        service = start_service(artifacts, threads=threads, limits=limits)
        log_to_stderr()
    for model in service.models.values():
        if not model.together:
            say(f"{model.name} was compiled without --batch: its answers take turns")
    names = ", ".join(service.models)
    say(f"{names}: {address_of(listener)} is a chat page, {address_of(listener)}/v1 the API")
    Server(service, listener, key).run(lambda: say("shutting down"))


def read_key(file: Path | None) -> str | None:
    """Return the key that requests must bring, if there is one.

    Raises
    ------
    C4nError
        It is too short, or its file cannot be read.
    """
    if file is None:
        where, key = KEY_VARIABLE, os.environ.get(KEY_VARIABLE)
        if not key:
            return None
    else:
        where = str(file)
        try:
            with file.open("rb") as stream:
                key = stream.read(MOST_KEY + 2).decode("ascii", "replace").strip()
        except OSError as error:
            raise C4nError(f"{file}: cannot be read: {error.strerror}") from None
    if not LEAST_KEY <= len(key) <= MOST_KEY or not key.isascii() or not key.isprintable():
        raise C4nError(
            f"{where}: a key has {LEAST_KEY} to {MOST_KEY} printable ASCII characters; make one "
            "with 'openssl rand -hex 24'"
        )
    return key
