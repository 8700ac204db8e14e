"""What clients ask: OpenAI's fields, vLLM's beside them, and what a gateway of ours adds."""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from cordee.serve.api.errors import ApiError, refused

Json = dict[str, object]
Share = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
Positive = Annotated[int, Meta(ge=1, le=2**31)]
Id = Annotated[int, Meta(ge=0, le=2**31)]
Word = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(msgspec.Struct, kw_only=True):
    """What a stream tells beside the answer."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Continuation(msgspec.Struct, kw_only=True):
    """How a gateway asks a replica to go on where another one was."""

    request_id: str = ""
    created: Count = 0
    index: Annotated[int, Meta(ge=0, le=1024)] = 0
    continue_from: list[Id] = []
    said: Count = 0
    priority: Annotated[int, Meta(ge=-20_000, le=20_000)] = 0
    deadline_s: Annotated[float, Meta(ge=0)] | None = None


class JsonSchema(msgspec.Struct, kw_only=True):
    """A schema that the answer keeps to."""

    name: str = ""
    schema: Json | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(msgspec.Struct, kw_only=True):
    """vLLM's other forms."""

    json: Json | str | None = None
    regex: str | None = None
    choice: Annotated[list[str], Meta(min_length=1)] | None = None
    grammar: str | None = None


class Generation(msgspec.Struct, kw_only=True):
    """The fields that chat and completions share."""

    model: str = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] | None = None
    min_p: Share | None = None
    seed: Word | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = 1
    max_tokens: Count | None = None
    min_tokens: Count = 0
    stop: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=64)]
        | None
    ) = None
    stop_token_ids: list[Id] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    return_token_ids: bool | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    user: str | None = None
    cordee: Continuation | None = None


class FunctionCall(msgspec.Struct, kw_only=True):
    """A call that an earlier answer made."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct, kw_only=True):
    """The same with its id."""

    function: FunctionCall
    id: str = ""
    type: str = "function"


class Part(msgspec.Struct, kw_only=True):
    """A part of a message's content."""

    type: str
    text: str = ""


class Message(msgspec.Struct, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(msgspec.Struct, kw_only=True):
    """A tool's name, and the schema of its arguments."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, kw_only=True):
    """Something that the model may call."""

    function: Function
    type: Literal["function"] = "function"


class NamedFunction(msgspec.Struct, kw_only=True):
    """The name of a tool."""

    name: str


class NamedTool(msgspec.Struct, kw_only=True):
    """The tool that must be called."""

    function: NamedFunction
    type: Literal["function"] = "function"


class Chat(Generation, kw_only=True):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: Json | None = None


class Completion(Generation, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[Id]]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = False
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=128)] | None = None
    add_special_tokens: bool = True


class Embeddings(msgspec.Struct, kw_only=True):
    """POST /v1/embeddings."""

    input: str | list[str | int | list[Id]]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Positive | None = None
    user: str | None = None


class Tokenize(msgspec.Struct, kw_only=True):
    """POST /tokenize: of a text or of a conversation."""

    model: str = ""
    prompt: str | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True


class Detokenize(msgspec.Struct, kw_only=True):
    """POST /detokenize."""

    tokens: list[Id]
    model: str = ""


R = TypeVar("R", bound=msgspec.Struct)
_DECODERS: dict[type[msgspec.Struct], msgspec.json.Decoder[msgspec.Struct]] = {}


def parse(body: bytes, kind: type[R]) -> R:
    """A request from its JSON. Raises `ApiError` 400 that names the field and what it may be."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(body)  # type: ignore[return-value]
    except msgspec.DecodeError as error:
        raise refused(error) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from error


def prompts_of(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """The prompts of a request that may have one or several, as texts or ids."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise ApiError(400, "prompt: is empty", param="prompt")
    if all(isinstance(part, int) for part in given):
        ids = [part for part in given if isinstance(part, int)]
        if any(not 0 <= part < 2**31 for part in ids):
            raise ApiError(400, "prompt: a token id is out of range", param="prompt")
        return [ids]
    if any(isinstance(part, int) for part in given):
        raise ApiError(400, "prompt: is neither texts, nor ids, nor lists of ids", param="prompt")
    return [part for part in given if not isinstance(part, int)]
