"""The chat page, in a browser and without one."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.browser import Browser, browser, is_there
from tests.server.client import Running, wait_until

needs_browser = pytest.mark.skipif(
    not is_there(), reason="apt-get install chromium chromium-driver"
)


def test_the_policy_lets_the_pages_own_script_run_and_nothing_else(running: Running) -> None:
    found = running.ask("/")
    assert found.status == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    text = found.data.decode()
    for tag in ("script", "style"):
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    # Nothing of it comes from elsewhere, and no text of a model becomes markup.
    assert not re.search(r"https?:|innerHTML|insertAdjacent|document\.write|\son\w+=", text)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


def choose(window: Browser, model: str) -> None:
    window.wait(lambda: window.run("return models.length") == 2)
    window.run(
        f"at('model').value = '{model}'; at('model').dispatchEvent(new Event('change'));"
        "at('temperature').value = 0; at('tokens').value = 12;"
    )


@pytest.mark.slow
@needs_browser
def test_a_chat_in_a_browser(running: Running, window: Browser) -> None:
    window.open(running.url)
    choose(window, "talking")
    window.type("#prompt", "w1 w2\n")
    window.wait(lambda: window.run("return turns.length") == 2)
    wanted = running.chat("w1 w2", max_tokens=12).json["choices"][0]["message"]["content"]
    assert window.text(".assistant") == wanted
    window.wait(lambda: window.run("return document.querySelectorAll('.speed').length") == 1)
    assert re.match(r"12 tokens, \d+/s; first after \d+ ms; ", window.text(".speed"))
    window.type("#prompt", "w3")
    window.click("#send")
    window.wait(lambda: window.run("return turns.length") == 4)
    second = running.chat("w1 w2", wanted, "w3", max_tokens=12).json["choices"][0]["message"]
    assert window.run("return turns.at(-1).content") == second["content"]
    # What the server refuses is shown, and the page goes on.
    window.type("#prompt", "<b>w4</b>\n")
    window.wait(lambda: window.run("return turns.length") == 6)
    assert window.run("return document.querySelectorAll('#text b').length") == 0
    window.click("#new")
    window.type("#prompt", "no\n")
    window.wait(lambda: window.run("return document.querySelectorAll('.failed').length") == 1)
    assert window.text(".failed") == "messages: the chat template says: not with me"
    assert [line for line in window.messages() if "400" not in line] == []


@pytest.mark.slow
@needs_browser
def test_a_text_is_stopped_and_continued(running: Running, window: Browser) -> None:
    window.open(running.url)
    choose(window, "art")
    assert window.text("#hint") == "This model has no chat template: it continues what you write."
    assert window.text("#send") == "Continue"
    window.type("#prompt", "w1 w2\n")
    window.wait(lambda: window.run("return turns.length") == 2)
    wanted = running.complete(model="art", max_tokens=12).json["choices"][0]["text"]
    assert window.run("return turns[1].content") == wanted
    choose(window, "talking")
    window.run("at('tokens').value = 4000")
    left = running.metric('c4n_requests_total{path="/v1/chat/completions",status="499"}')
    window.type("#prompt", "w5\n")
    window.wait(lambda: len(window.text("#text")) > 100)
    window.click("#stop")
    window.wait(lambda: window.run("return turns.length") == 2)
    wait_until(lambda: running.service.scheduler.decoding == 0)
    now = running.metric('c4n_requests_total{path="/v1/chat/completions",status="499"}')
    assert now == left + 1


@pytest.mark.slow
@needs_browser
def test_a_key_is_typed_in(start: Callable[..., Running], window: Browser, tmp_path: Path) -> None:
    key = "0123456789abcdef"
    running = start(key=key)
    window.open(running.url)
    window.wait(lambda: window.text("#hint") == "This server wants its API key.")
    window.type("#key", key + "\n")
    window.wait(lambda: window.run("return models.length") == 1)
    window.type("#prompt", "w1\n")
    window.wait(lambda: window.run("return turns.length") == 2)
    window.save_picture(tmp_path / "page.png")
