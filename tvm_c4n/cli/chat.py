"""`tvm-c4n chat`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.console import ProgressBar, say
from tvm_c4n.cli.sampling import (
    MinP,
    Model,
    RepeatLastN,
    RepeatPenalty,
    Stop,
    Temp,
    Threads,
    TopK,
    TopP,
    params_of,
)
from tvm_c4n.cli.word_wrap import WordWrap
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.cli.chat_commands import Commands
    from tvm_c4n.runtime.conversation import Conversation

# Tokens at most of an answer, which a model ends by itself, and of a piece of a text, which it does
# not.
_ANSWER, _PARAGRAPH = 1024, 160


def chat(
    context: typer.Context,
    model: Model,
    limit: Annotated[
        int | None,
        typer.Option(
            "--n-predict",
            "-n",
            help="Tokens of an answer at most [1024; 160 without a chat template].",
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="What the system says first (chat templates).")
    ] = None,
    load_state: Annotated[
        Path | None, typer.Option("--load-state", help="Go on from this file of /save.")
    ] = None,
    temp: Temp = 0.8,
    top_k: TopK = 40,
    top_p: TopP = 0.95,
    min_p: MinP = 0.05,
    repeat_penalty: RepeatPenalty = 1.1,
    repeat_last_n: RepeatLastN = 64,
    stop: Stop = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same answers [another every time].")
    ] = None,
    threads: Threads = None,
) -> None:
    """Talk with a model, or write a text in turns with it; /help lists commands."""
    with ProgressBar("loading") as bar:
        from tvm_c4n.compile.cache import load
        from tvm_c4n.model.chat_template import read_chat_template
        from tvm_c4n.runtime.continuation import check_limit
        from tvm_c4n.runtime.conversation import Conversation

        # What can be said of the options is said before a model is compiled for them.
        check_limit(1 if limit is None else limit)
        params = params_of(context)
        engine = load(model, threads=threads, progress=bar, notify=bar.notify)
        template = read_chat_template(engine.artifact.path) is not None
        if system is not None and not template:
            raise C4nError(f"{model}: has no chat template, so --system has no place in its texts")
        most = limit or (_ANSWER if template else _PARAGRAPH)
        talk = Conversation(engine, params, most, template=template, system=system)
        if load_state is not None:
            talk.load(load_state)
    _talk(Path(model).name, talk)


def _talk(name: str, talk: Conversation) -> None:
    from tvm_c4n.cli.chat_commands import Commands
    from tvm_c4n.cli.chat_input import at_a_terminal, from_pipe, from_terminal

    commands, read = Commands(talk, say), from_pipe
    if at_a_terminal():
        does = "answers" if talk.template else "continues texts: begin one"
        say(f"{name} {does}. /help lists commands, Ctrl-D ends.")
        read = from_terminal(commands.names, lambda: say("Ctrl-D or /quit ends the chat"))
    talk.prepare()
    try:
        while (line := read()) is not None and _turn(line, talk, commands):
            talk.prepare()  # while the next line is being typed
    finally:
        talk.close()


def _turn(line: str, talk: Conversation, commands: Commands) -> bool:
    """Answer a line, or carry it out; errors are told, and the chat goes on. False at its end."""
    from tvm_c4n.cli.chat_commands import Quit

    try:
        if not commands.run(line):
            _answer(line.removeprefix("/") if line.startswith("//") else line, talk)
    except Quit:
        return False
    except C4nError as error:
        typer.echo(f"error: {error}", err=True)
    return True


def _answer(line: str, talk: Conversation) -> None:
    from tvm_c4n.cli.chat_input import at_a_terminal, without_echo

    begun, wrap = False, WordWrap(shutil.get_terminal_size().columns) if at_a_terminal() else None
    try:
        with _ctrl_c_stops(talk), without_echo():
            for piece in talk.say(line):
                # The space between what was said and the answer is that of the line's end.
                text = piece if begun else piece.lstrip(" " if wrap is None else None)
                begun = begun or bool(text)
                typer.echo(text if wrap is None else wrap.put(text), nl=False)
    except _GivenUp:
        typer.echo()
        say("stopped; the turn is forgotten")
        return
    except C4nError:
        typer.echo("\n" if begun else "", nl=False)
        raise
    # At a terminal a turn ends with an empty line.
    typer.echo("" if wrap is None else wrap.end() + "\n")


class _GivenUp(KeyboardInterrupt):
    """Somebody did not wait for the next piece of an answer."""


@contextmanager
def _ctrl_c_stops(talk: Conversation) -> Iterator[None]:
    """Let Ctrl-C end the answer with its next piece; a second one does not wait for that."""

    def stop(number: int, frame: FrameType | None) -> None:
        if talk.stopped:
            raise _GivenUp
        talk.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
