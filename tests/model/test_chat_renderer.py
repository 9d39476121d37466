"""The renderer answers in JSON, whatever a template does; limits are set by the process itself."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest

from tvm_c4n.model import chat_renderer
from tvm_c4n.model.chat_renderer import render

REQUEST = {"variables": {}, "max_characters": 99, "seconds": 5, "size_bytes": 1 << 29}


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("{{ x }}", {"text": "1"}),
        ("{{ [1, 'ü<'] | tojson }}", {"text": '[1, "ü<"]'}),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", {"text": '{"a": 2, "b": 1}'}),
        ("a{% generation %}{{ x }}{% endgeneration %}b", {"text": "a1b"}),
        ("{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}", {"text": "2"}),
        (
            "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}x{% endfor %}",
            {"text": "xxx"},
        ),
        ("  {% if x %}\ny{% endif %}", {"text": "y"}),
        ("{{ 'x' * 100 }}", {"error": "writes more than 99 characters"}),
        ("{{ raise_exception('no') }}", {"error": "says: no"}),
        ("{{ x.y.z }}", {"error": "UndefinedError: 'int object' has no attribute 'y'"}),
        ("{% endif %}", None),
    ],
)
def test_a_template_is_rendered_or_its_fault_is_named(source: str, answer: Any) -> None:
    found = render(source, {"x": 1}, 99)
    if answer is None:
        assert found["error"].startswith("line 1: ")
    else:
        assert found == answer


def test_the_program_answers_what_it_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-P", chat_renderer.__file__],
        input=json.dumps({**REQUEST, "template": "{{ strftime_now('%%') }}ü"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"text": "%ü"}


def test_limits_of_the_user_that_are_lower_hold() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))

    request = {**REQUEST, "template": "{{ ('a' * 300000000) | length }}"}
    done = subprocess.run(
        [sys.executable, "-P", chat_renderer.__file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limit,
    )
    assert json.loads(done.stdout) == {"error": "takes too much memory"}


def test_it_imports_nothing_of_the_package() -> None:
    program = "import runpy, sys; runpy.run_path({!r}); print('tvm_c4n' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program.format(chat_renderer.__file__)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
