"""Renders one chat template: a program, which `tvm_c4n.model.chat_template` starts.

Templates come from strangers and are programs. jinja2's sandbox keeps them away from Python, but
not from loops without end or texts that double until memory is used up, some of them within one
call of C code. So they run here, in a process whose time and memory the system limits.

stdin has a request in JSON, stdout gets the answer. Nothing of this package is imported.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class Generation(Extension):
    """``{% generation %}``, which marks what a model said for training: the text stays as it is."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the statements up to the end tag."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class TellingError(TemplateError):
    """What a template itself says is wrong."""


def raise_exception(message: object) -> NoReturn:
    """End the rendering, on a template's demand."""
    raise TellingError(str(message))


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as transformers does: jinja2's own filter escapes characters of HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(form: str) -> str:
    """Return the present time in a form of strftime."""
    return datetime.now().strftime(form)


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment that templates are written for: transformers'."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals.update(
        raise_exception=raise_exception, strftime_now=strftime_now, namespace=Namespace
    )
    return made


def render(template: str, variables: dict[str, Any], max_characters: int) -> dict[str, str]:
    """Render a template: ``{"text": ...}``, or what is wrong with it, ``{"error": ...}``."""
    try:
        made = environment().from_string(template)
        text, count = [], 0
        for piece in made.generate(variables):
            count += len(piece)
            if count > max_characters:
                return {"error": f"writes more than {max_characters} characters"}
            text.append(piece)
    except TellingError as error:
        return {"error": f"says: {error}"}
    except TemplateSyntaxError as error:
        return {"error": f"line {error.lineno}: {error.message}"}
    except MemoryError:
        return {"error": "takes too much memory"}
    except RecursionError:
        return {"error": "is nested too deeply"}
    except Exception as error:  # whatever a template makes of what it is given
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": "".join(text)}


def main() -> None:
    """Answer the request on stdin, within its limits."""
    request = json.load(sys.stdin)
    seconds, size_bytes = request["seconds"], request["size_bytes"]
    for limit, wanted in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, size_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(limit)[1]  # the user's own limit may be lower
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (value, value))
    answer = render(request["template"], request["variables"], request["max_characters"])
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
