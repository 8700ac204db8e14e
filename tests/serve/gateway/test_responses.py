"""Does /v1/responses give OpenAI's client what it expects, failures of replicas included?"""

import json

import openai
import pytest
from openai.types.responses import ResponseCompletedEvent, ResponseIncompleteEvent
from tests.serve.gateway.conftest import Service

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"unit": {"enum": ["C", "F"]}},
        "required": ["unit"],
        "additionalProperties": False,
    },
}
ASKED = {"model": "small", "input": "Tell me about parsers.", "temperature": 0}


def test_a_response_has_the_text_of_the_chat_completion(service: Service) -> None:
    client = service.client()
    response = client.responses.create(**ASKED, max_output_tokens=30, instructions="Be brief.")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": ASKED["input"]},
    ]
    chat = client.chat.completions.create(
        model="small", messages=messages, max_tokens=30, temperature=0
    )
    assert response.output_text == chat.choices[0].message.content
    assert response.usage.output_tokens == chat.usage.completion_tokens
    assert response.status == (
        "incomplete" if chat.choices[0].finish_reason == "length" else "completed"
    )


def test_a_stream_of_events_survives_its_replica(service: Service) -> None:
    client = service.client()
    whole = client.responses.create(**ASKED, max_output_tokens=600, extra_body={"seed": 1})
    deltas = []
    for event in client.responses.create(
        **ASKED, max_output_tokens=600, stream=True, extra_body={"seed": 1}
    ):
        if event.type == "response.output_text.delta":
            deltas.append(event.delta)
            if len(deltas) == 20:
                service.act(service.busy(), "kill")
        last = event
    assert isinstance(last, ResponseCompletedEvent | ResponseIncompleteEvent)
    assert "".join(deltas) == last.response.output_text == whole.output_text
    service.wait_ready(2)


def test_a_function_is_called_and_its_output_read(service: Service) -> None:
    client = service.client()
    response = client.responses.create(
        model="small",
        input="Warm?",
        tools=[TOOL],
        tool_choice={"type": "function", "name": "weather"},
        max_output_tokens=200,
    )
    call = response.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments)["unit"] in ("C", "F")
    after = client.responses.create(
        model="small",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Warm?"}]},
            call.model_dump(),
            {"type": "function_call_output", "call_id": call.call_id, "output": "21"},
        ],
        max_output_tokens=5,
    )
    assert after.output_text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "image"}]}, "image"),
        ({"previous_response_id": "resp_1"}, "keeps no answers"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"temperature": 999}, "temperature"),
    ],
)
def test_what_cannot_be_asked_is_said(
    service: Service, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        service.client().responses.create(**{**ASKED, **changes})  # type: ignore[call-overload]
