"""What is put into OpenAI's objects from the pieces of answers."""

import math

import pytest

from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.runtime.logprobs import TokenLogprobs
from tvm_c4n.server.mailbox import Piece
from tvm_c4n.server.objects import ChatForm, Form, Usage


@pytest.fixture(scope="module")
def tokenizer(small_model):
    return load_tokenizer(small_model)


def piece(token, text, finish=None):
    return Piece(0, text, 1, (TokenLogprobs(token, -0.5, ((token, -0.5), (9, -2.0))),), finish)


def test_offsets_of_tokens_run_on_through_a_stream(tokenizer):
    form = Form("m", tokenizer, True)
    start = Piece(0, "w1", 0, (TokenLogprobs(0, math.nan, ()), TokenLogprobs(1, -1.0, ())))
    first = form.delta(start)["logprobs"]
    # The special token in front has no text.
    assert first["text_offset"] == [0, 0]
    assert first["tokens"] == ["<|endoftext|>", "w1"]
    assert first["token_logprobs"] == [None, -1.0]
    assert first["top_logprobs"] == [None, {}]
    second = form.delta(piece(22, "w22"))["logprobs"]
    assert second["text_offset"] == [2]
    assert second["top_logprobs"] == [{"w22": -0.5, "w9": -2.0}]
    assert form.delta(piece(3, "w3"))["logprobs"]["text_offset"] == [5]


def test_whole_answers_join_their_pieces(tokenizer):
    pieces = [piece(1, "w1"), piece(2, "w2", "stop")]
    said = Form("m", tokenizer, True).choice(0, pieces)
    assert (said["text"], said["finish_reason"]) == ("w1w2", "stop")
    assert said["logprobs"]["text_offset"] == [0, 2]
    chat = ChatForm("m", tokenizer, True)
    said = chat.choice(0, pieces)
    assert said["message"] == {"role": "assistant", "content": "w1w2", "refusal": None}
    assert [one["token"] for one in said["logprobs"]["content"]] == ["w1", "w2"]
    whole = chat.whole([said], Usage(5, 2, 3))
    assert whole["object"] == "chat.completion"
    assert whole["id"].startswith("chatcmpl-")
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert whole["usage"]["total_tokens"] == 8
    assert ChatForm("m", tokenizer, False).choice(0, pieces)["logprobs"] is None


def test_a_last_piece_without_text_has_an_empty_delta(tokenizer):
    form = ChatForm("m", tokenizer, False)
    assert form.delta(Piece(0, "", 3, (), "stop"))["delta"] == {}
    assert form.delta(Piece(0, "a", 3))["delta"] == {"content": "a"}
