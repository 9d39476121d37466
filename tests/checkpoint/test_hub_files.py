"""A transfer that stops goes on, in the next try and in the next process."""

import pytest

from tvm_c4n.checkpoint import locate
from tvm_c4n.errors import CheckpointError

WEIGHTS = "model.safetensors"


@pytest.fixture
def pieces(monkeypatch):
    """Transfers in pieces of 1000 bytes; no time passes before a next try."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


def ranges(hub):
    """What was asked for of the weights, as the Range headers say it."""
    return [
        wanted for method, path, wanted in hub.asked if method == "GET" and path.startswith("/cdn/")
    ]


def test_a_connection_that_breaks_is_taken_up(hub, pieces, small_model):
    size = (small_model / WEIGHTS).stat().st_size
    hub.cut[WEIGHTS] = size // 2 + 1
    folder = locate("org/small")
    assert (folder / WEIGHTS).read_bytes() == (small_model / WEIGHTS).read_bytes()
    first, *others = ranges(hub)
    assert first == "" and others and all(wanted.startswith("bytes=") for wanted in others)


def test_an_interrupt_loses_a_piece_at_most(hub, pieces, small_model):
    size = (small_model / WEIGHTS).stat().st_size

    def interrupt(what, done, total):
        blobs = hub.cache.rglob("*.part")
        if any(part.stat().st_size > size // 2 for part in blobs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locate("org/small", interrupt)
    hub.asked.clear()
    folder = locate("org/small")
    assert (folder / WEIGHTS).read_bytes() == (small_model / WEIGHTS).read_bytes()
    (wanted,) = ranges(hub)
    assert int(wanted.removeprefix("bytes=").rstrip("-")) > size // 2
    assert not list(hub.cache.rglob("*.part"))


def test_a_hub_that_stops_sending_is_one_line(hub, pieces):
    hub.cut[WEIGHTS] = 0
    with pytest.raises(CheckpointError, match=r"^org/small: .* the same command goes on where it"):
        locate("org/small")
    del hub.cut[WEIGHTS]
    assert (locate("org/small") / WEIGHTS).exists()


def test_what_came_is_checked(hub, pieces, small_model):
    """A part of another file, as a disk error leaves it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    etag = get_hf_file_metadata(hf_hub_url("org/small", WEIGHTS)).etag
    blobs = hub.cache / "models--org--small/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag}.part").write_bytes(b"\0" * 1000)
    with pytest.raises(CheckpointError, match="not what the hub announced"):
        locate("org/small")
    assert (locate("org/small") / WEIGHTS).exists()
