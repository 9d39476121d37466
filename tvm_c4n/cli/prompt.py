"""The text to continue: from an option, a file, or stdin."""

from __future__ import annotations

import sys
from pathlib import Path

from tvm_c4n.errors import C4nError

PROMPT_HELP = "Text to continue [stdin, if something is piped in; else the model starts a text]."
FILE_HELP = "Continue the text of this file; -: of stdin."
# Some million tokens, hours of reading: who sends more has sent something else.
MAX_BYTES = 16 << 20


def read_prompt(prompt: str | None, file: Path | None) -> str:
    """Return the text to continue; the last line end of a file or of stdin is not part of it.

    Parameters
    ----------
    prompt : str, optional
        Taken as it is.
    file : Path, optional
        ``-`` is stdin, which is also read where neither is given and something is piped in.

    Raises
    ------
    C4nError
        Both are given, or what is read is missing, too long or not UTF-8.
    """
    if prompt is not None:
        if file is not None:
            raise C4nError("--prompt and --file both say what to continue: give one of them")
        return prompt
    if file is not None and str(file) != "-":
        try:
            with file.open("rb") as stream:
                return _text(stream.read(MAX_BYTES + 1), str(file))
        except OSError as error:
            raise C4nError(f"{file}: cannot be read: {error.strerror}") from None
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        return ""
    return _text(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin")


def _text(content: bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        raise C4nError(f"{name}: longer than {MAX_BYTES >> 20} MiB, which is no prompt")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise C4nError(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
