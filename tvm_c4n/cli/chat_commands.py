"""What lines that begin with a slash do in a chat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_c4n.cli.results import peak_bytes
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.runtime.conversation import Conversation

HELP = """\
/reset        begin anew
/undo         take the last turn back
/save FILE    write the text and the model's state to a file
/load FILE    go on from such a file
/system TEXT  what the system says first (models with a chat template)
/stats        speed of the last turn, length of the text, memory
/help         this
/quit         leave, as Ctrl-D does

An empty line lets a model without a chat template go on. Ctrl-C stops an
answer, Alt-Enter begins another line of a message. A message that begins
with a slash is written with two."""
# Of a text that was loaded: its end is shown.
_SHOWN = 300


class Quit(Exception):
    """The chat is over."""


class Commands:
    """Carries commands out.

    Parameters
    ----------
    conversation : Conversation
    tell : callable
        Prints a sentence.
    """

    def __init__(self, conversation: Conversation, tell: Callable[[str], None]) -> None:
        self._conversation, self._tell = conversation, tell
        self._known: dict[str, Callable[[str], None]] = {
            "/reset": self._reset,
            "/undo": self._undo,
            "/save": self._save,
            "/load": self._load,
            "/system": self._system,
            "/stats": self._stats,
            "/help": lambda _: self._tell(HELP),
            "/quit": self._quit,
        }

    @property
    def names(self) -> list[str]:
        """All commands."""
        return list(self._known)

    def run(self, line: str) -> bool:
        """Carry a line out if it is a command; False if it is a message.

        Raises
        ------
        C4nError
            There is no such command, or what it says.
        Quit
            It ends the chat.
        """
        if not line.startswith("/") or line.startswith("//"):
            return False
        name, *rest = line.split(maxsplit=1)
        command = self._known.get(name)
        if command is None:
            raise C4nError(f"{name}: no such command; /help lists them")
        command("".join(rest).strip())
        return True

    def _reset(self, rest: str) -> None:
        self._conversation.reset()
        self._tell("a new text begins")

    def _undo(self, rest: str) -> None:
        if not self._conversation.undo():
            raise C4nError("there is no turn to take back")
        turns = self._conversation.turns
        self._tell(f"taken back; {_turns(turns)} {'is' if turns == 1 else 'are'} left")

    def _save(self, rest: str) -> None:
        if not rest:
            raise C4nError("/save needs the name of a file")
        tokens = self._conversation.save(Path(rest).expanduser())
        self._tell(f"saved {tokens} tokens in {rest}")

    def _load(self, rest: str) -> None:
        if not rest:
            raise C4nError("/load needs the name of a file")
        tokens = self._conversation.load(Path(rest).expanduser())
        text = self._conversation.text
        end = text if len(text) <= _SHOWN else "[...]" + text[-_SHOWN:]
        self._tell(f"loaded {tokens} tokens from {rest}:\n{end}")

    def _system(self, rest: str) -> None:
        if not self._conversation.template:
            raise C4nError(
                "this model has no chat template and so no system: write it into the text"
            )
        if rest:
            self._conversation.system = rest
        self._tell(f"the system says: {self._conversation.system or 'nothing'}")

    def _stats(self, rest: str) -> None:
        talk = self._conversation
        self._tell(
            f"last turn: {talk.stats}\n"
            f"text: {len(talk.ids)} tokens in {_turns(talk.turns)}; "
            f"states: {len(talk.cache)} kept, {talk.cache.size_bytes / 1e6:.1f} MB; "
            f"memory: {peak_bytes() / 1e6:.0f} MB"
        )

    def _quit(self, rest: str) -> None:
        raise Quit


def _turns(count: int) -> str:
    return f"{count} turn" if count == 1 else f"{count} turns"
