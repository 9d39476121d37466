"""A server in a thread of this process, with a model that chats and one that continues texts."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.once import made_once
from tests.server.client import Running
from tvm_c4n.server.limits import Limits

# The words of a chat are those of the small model: w9 is said to speak as the system, w8 as the
# user, w7 as the assistant.
TEMPLATE = (
    "{% if messages[0].content == 'no' %}{{ raise_exception('not with me') }}{% endif %}"
    "{{ bos_token }}{% for m in messages %} "
    "{{ {'system': 'w9', 'user': 'w8', 'assistant': 'w7'}[m.role] }} {{ m.content }}"
    "{% endfor %}{% if add_generation_prompt %} w7 {% endif %}"
)


@pytest.fixture(scope="session")
def talking(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a chat template, compiled; greedy texts of it have no end."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    from tvm_c4n.compile.artifact import compile_model

    folder = tmp_path_factory.mktemp("talking") / "talking"
    shutil.copytree(small_model, folder)
    tensors = load_file(folder / "model.safetensors")
    # A row of zeros gives a logit of 0, which is never the largest: no text ends with w95.
    embeddings = np.array(tensors["backbone.embeddings.weight"])
    embeddings[95] = 0
    save_file(
        {**tensors, "backbone.embeddings.weight": embeddings},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 95}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<|endoftext|>"}')
    return made_once(
        tmp_path_factory, "talking.art", lambda out: compile_model(folder, out, batch=True)
    )


@contextmanager
def serving(
    artifacts: list[Path], limits: Limits | None = None, key: str | None = None
) -> Iterator[Running]:
    """Run a server in a thread."""
    from tvm_c4n.server.running import Server, bind
    from tvm_c4n.server.service import start_service

    service = start_service(artifacts, threads=1, limits=limits or Limits())
    listener = bind("127.0.0.1", 0, open_to_others=False)
    port = listener.getsockname()[1]
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    server = Server(service, listener, key)
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve(stop)))
    thread.start()
    running = Running(service, port, lambda: loop.call_soon_threadsafe(stop.set), thread)
    try:
        yield running
    finally:
        running.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert service.scheduler.join(10)
        loop.close()


@pytest.fixture(scope="session")
def running(talking: Path, hybrid_artifact: Path) -> Iterator[Running]:
    """A server with ``talking`` and ``art``, a model with attention that reads 64 tokens."""
    with serving([talking, hybrid_artifact]) as found:
        yield found


@pytest.fixture
def start(talking: Path) -> Iterator[Callable[..., Running]]:
    """``start(limits, key) -> Running``: a server of the test's own."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def enter(limits: Limits | None = None, key: str | None = None) -> Running:
            return stack.enter_context(serving([talking], limits, key))

        yield enter
