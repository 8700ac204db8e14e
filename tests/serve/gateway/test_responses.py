"""Does /v1/responses give OpenAI's client what it expects, failures of replicas included?"""

import json
from pathlib import Path

import openai
import pytest
from openai.types.responses import ResponseCompletedEvent, ResponseIncompleteEvent
from tests.serve.gateway.conftest import Service, serving
from tests.waiting import until

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
        ({"previous_response_id": "resp_1"}, "no response resp_1"),
        ({"previous_response_id": "../../etc/passwd"}, "no response"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"temperature": 999}, "temperature"),
    ],
)
def test_what_cannot_be_asked_is_said(
    service: Service, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        service.client().responses.create(**{**ASKED, **changes})  # type: ignore[call-overload]


def test_a_conversation_goes_on_from_an_answer_that_is_kept(service: Service) -> None:
    client = service.client()
    first = client.responses.create(**ASKED, max_output_tokens=20, instructions="Be brief.")
    second = client.responses.create(
        model="small",
        input="And lexers?",
        previous_response_id=first.id,
        max_output_tokens=20,
        temperature=0,
        metadata={"a": "b"},
    )
    whole = client.responses.create(
        model="small",
        input=[
            {"role": "user", "content": ASKED["input"]},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And lexers?"},
        ],
        max_output_tokens=20,
        temperature=0,
    )
    assert second.output_text == whole.output_text
    assert (second.previous_response_id, second.metadata) == (first.id, {"a": "b"})
    items = client.responses.input_items.list(second.id, order="asc", limit=2)
    said = [item.content[0].text for item in items]  # the client turns the page
    assert said == [ASKED["input"], first.output_text, "And lexers?"]


def test_an_answer_is_read_again_until_it_is_deleted(service: Service) -> None:
    client = service.client()
    *_, last = client.responses.create(**ASKED, max_output_tokens=20, stream=True)
    told = last.response
    found = client.responses.retrieve(told.id)
    assert found.output_text == told.output_text
    assert found.usage == told.usage
    client.responses.delete(told.id)
    for again in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            again(told.id)


def test_what_is_not_to_be_stored_is_not(service: Service) -> None:
    response = service.client().responses.create(**ASKED, max_output_tokens=5, store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        service.client().responses.retrieve(response.id)


def test_another_gateway_with_the_same_folder_knows_the_conversation(
    model_folder: Path, tmp_path: Path
) -> None:
    journal = f'journal = "{tmp_path}"'
    with serving(model_folder, replicas=1, gateway=journal) as one:
        first = one.client().responses.create(**ASKED, max_output_tokens=20)
        until((tmp_path / "responses" / f"{first.id}.json").exists)
    with serving(model_folder, replicas=1, gateway=journal) as other:
        client = other.client()
        assert client.responses.retrieve(first.id).output_text == first.output_text
        second = client.responses.create(
            model="small", input="More.", previous_response_id=first.id, max_output_tokens=5
        )
        assert len(list(client.responses.input_items.list(second.id))) == 3
        client.responses.delete(first.id)
    assert [file.stem for file in (tmp_path / "responses").iterdir()] == [second.id]
