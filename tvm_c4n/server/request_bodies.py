"""The bodies of requests: their fields, and which values those may have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tvm_c4n.server.api_error import refused
from tvm_c4n.server.fields import known_fields

# Tokens of an answer where a request of /v1/completions does not say; OpenAI's number.
DEFAULT_TOKENS = 16
MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
_SEVERAL_KINDS: dict[int | str, str] = {
    "prompt": "should be a text, a list of texts, a list of tokens, or a list of such lists",
    "stop": f"should be a text or a list of at most {MAX_STOPS} texts, of 1 to 256 characters each",
    "content": 'should be a text or a list of parts like {"type": "text", "text": "Hello"}',
}

Token = Annotated[int, Field(ge=0)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class _Body(BaseModel):
    # Strict: "16" and true are no numbers.
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(BaseModel):
    """What comes along with a stream; other keys mean nothing here."""

    model_config = ConfigDict(strict=True, extra="ignore")
    include_usage: bool = False


class GenerationBody(_Body):
    """The fields that both kinds of requests have."""

    model: str | None = Field(default=None, max_length=1000)
    n: int = Field(default=1, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=0)
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] = []
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    temperature: float = Field(default=1.0, ge=0, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    repeat_last_n: int = Field(default=64, ge=-1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class CompletionBody(GenerationBody):
    """The body of POST /v1/completions."""

    prompt: str | list[Token] | list[str] | list[list[Token]] = ""
    best_of: int | None = None
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)


class Part(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message of a chat; templates may read more of its keys."""

    model_config = ConfigDict(strict=True, extra="allow")
    role: str = Field(max_length=64)
    content: str | list[Part] | None = None


class ChatBody(GenerationBody):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MAX_TOP_LOGPROBS)


_Kind = TypeVar("_Kind", bound=GenerationBody)


def read_body(kind: type[_Kind], value: dict[str, Any]) -> _Kind:
    """Check a JSON object against the class of its request.

    Raises
    ------
    ApiError
        A field that is missing, refused or unknown, or has a value that it may not have.
    """
    fields = known_fields(value, frozenset(kind.model_fields))
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise refused(*_said(first["loc"], str(first["msg"]))) from None


def _said(place: tuple[int | str, ...], complaint: str) -> tuple[str, str]:
    """Name the field; what may be of several kinds is said in one sentence for all of them."""
    for depth, part in enumerate(place):
        if part in _SEVERAL_KINDS:
            return ".".join(map(str, place[: depth + 1])), _SEVERAL_KINDS[part]
    return ".".join(map(str, place))[:200], complaint[:1].lower() + complaint[1:]
