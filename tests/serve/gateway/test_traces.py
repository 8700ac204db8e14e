"""Is each request a span at OpenTelemetry's collector, with one below it for each replica that worked on it?"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, served, serving
from tests.serve.gateway.test_log import BODY, SECRET, asked, struck
from tests.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
Span = dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Takes spans as a real collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.messages: list[dict[str, Any]] = []

    def spans(self) -> list[Span]:
        return [
            span
            for message in self.messages
            for resource in message["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def of(self, request_id: str) -> tuple[Span, list[Span]]:
        """The span of a request and those below it, once they have come."""

        def come() -> list[Span]:
            return [
                span
                for span in self.spans()
                if attributes(span).get("gen_ai.response.id") == request_id
            ]

        until(come)
        (span,) = come()
        return span, [s for s in self.spans() if s.get("parentSpanId") == span["spanId"]]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/json"
        self.server.messages.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(model_folder: Path, collector: Collector) -> Iterator[Service]:
    url = f"http://127.0.0.1:{collector.server_port}"
    with serving(model_folder, gateway=f'traces = "{url}"') as running:
        yield running


def attributes(span: Span) -> dict[str, Any]:
    made = {}
    for attribute in span["attributes"]:
        ((kind, value),) = attribute["value"].items()
        made[attribute["key"]] = int(value) if kind == "intValue" else value
    return made


def test_a_request_is_a_span_with_the_names_of_the_conventions(
    traced: Service, collector: Collector
) -> None:
    request, (leg,) = collector.of(asked(traced, BODY))
    told = attributes(request)
    assert request["name"] == "chat small"
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "small"
    assert told["gen_ai.request.max_tokens"] == told["gen_ai.usage.output_tokens"] == 400
    assert told["gen_ai.request.temperature"] == 0.0
    assert told["gen_ai.usage.input_tokens"] > 5
    assert told["http.response.status_code"] == 200
    assert (request["kind"], leg["kind"]) == (2, 3)
    assert leg["traceId"] == request["traceId"]
    assert int(request["startTimeUnixNano"]) <= int(leg["startTimeUnixNano"])
    assert int(leg["endTimeUnixNano"]) <= int(request["endTimeUnixNano"])
    assert attributes(leg)["server.address"] == "127.0.0.1"
    assert [event["name"] for event in leg["events"]] == ["cordee.first_token"]


def test_a_failover_is_two_legs_and_a_gap(traced: Service, collector: Collector) -> None:
    request, legs = collector.of(struck(traced))
    first, second = sorted(legs, key=lambda leg: int(leg["startTimeUnixNano"]))
    assert first["status"]["code"] == 2
    assert "status" not in second
    assert "status" not in request
    (gap,) = request["events"]
    told = attributes(gap)
    assert gap["name"] == "cordee.gap"
    assert told["cordee.gap.from"] == attributes(first)["cordee.replica"]
    assert told["cordee.gap.to"] == attributes(second)["cordee.replica"]
    assert told["cordee.gap.duration_s"] > 0
    tokens = [attributes(leg)["gen_ai.usage.output_tokens"] for leg in (first, second)]
    assert sum(tokens) == 400
    assert attributes(second)["cordee.first_position"] == tokens[0] >= 30
    traced.wait_ready(2)


def test_a_client_that_traces_finds_the_request_in_its_own_trace(
    traced: Service, collector: Collector
) -> None:
    url = f"{traced.url}/v1/chat/completions"
    body = BODY | {"stream": False, "max_tokens": 3}
    sampled = httpx.post(url, json=body, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    unsampled = httpx.post(url, json=body, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    request, _ = collector.of(sampled.json()["id"])
    assert (request["traceId"], request["parentSpanId"]) == (TRACE, PARENT)
    collector.of(asked(traced, BODY))  # by now those before it would have come too
    names = [attributes(span).get("gen_ai.response.id") for span in collector.spans()]
    assert unsampled.json()["id"] not in names


def test_nothing_of_what_was_said_is_in_a_span(traced: Service, collector: Collector) -> None:
    collector.of(asked(traced, BODY))
    assert SECRET not in json.dumps(collector.messages)


@contextmanager
def engine(seen: list[dict[str, str]]) -> Iterator[str]:
    """An engine of others that remembers the headers of its requests."""

    class Answering(_Taking):
        def do_GET(self) -> None:
            self.answer(b"{}", "application/json")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            choice = {"index": 0, "text": "a", "finish_reason": "stop"}
            chunk = {"object": "text_completion", "choices": [choice]}
            body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
            self.answer(body, "text/event-stream")

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("traces", [True, False], ids=["traces", "no traces"])
def test_the_engine_is_told_where_it_belongs(collector: Collector, traces: bool) -> None:
    seen: list[dict[str, str]] = []
    where = f'traces = "http://127.0.0.1:{collector.server_port}"' if traces else ""
    with engine(seen) as url:
        pool = f'name = "o"\nkind = "openai"\nmodel = "m"\nurls = ["{url}"]'
        with served(f"[gateway]\nport = 0\n{where}\n[[pool]]\n{pool}", 1) as service:
            reply = httpx.post(
                f"{service.url}/v1/completions",
                json={"prompt": "a"},
                headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"},
            )
            assert reply.json()["choices"][0]["text"] == "a"
            if traces:
                _, (leg,) = collector.of(reply.json()["id"])
    assert seen[0]["tracestate"] == "a=b"
    below = leg["spanId"] if traces else PARENT
    assert seen[0]["traceparent"] == f"00-{TRACE}-{below}-01"


def test_requests_do_not_care_that_the_collector_is_away(model_folder: Path) -> None:
    with serving(model_folder, gateway='traces = "http://127.0.0.1:9"') as service:
        for _ in range(3):
            asked(service, BODY)
        until(lambda: service.status()["gateway"]["spans"]["dropped"])
        metrics = httpx.get(f"{service.url}/metrics").text
        assert service.status()["gateway"]["requests"]["ok"] == 3
    assert 'cordee_gateway_spans_total{result="dropped"}' in metrics
