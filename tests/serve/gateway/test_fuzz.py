"""Does any request that the API's own description allows, or nearly allows, end in an error of ours?"""

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from tests.serve.gateway.conftest import Service

PATHS = 8


def shortened(case: Case) -> Case:
    """The same request with short answers: how long they may be is tried elsewhere."""
    if isinstance(case.body, dict):
        for name, most in (("n", 2), ("max_tokens", 8), ("max_completion_tokens", 8)):
            value = case.body.get(name, most)
            if value is None or (isinstance(value, int) and value > most):
                case.body[name] = most
        if isinstance(case.body.get("prompt"), list):
            case.body["prompt"] = case.body["prompt"][:4]
    return case


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_ends_in_a_server_error_or_hangs(service: Service, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == PATHS
    codes: set[int] = set()
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method.upper() == "GET":
            continue  # there is nothing in it that could be wrong

        @settings(
            max_examples=40,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            response = shortened(case).call(timeout=30)
            codes.add(response.status_code)
            assert response.status_code < 500, (case.body, response.text)

        ask()
    assert 400 in codes or mode is GenerationMode.POSITIVE
    assert httpx.get(f"{service.url}/health").json()["ready"] == 2
