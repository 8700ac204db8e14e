"""Does what is said of weak links agree with a run that was measured, and with what must be at the limits?"""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cordee.core.errors import UsageError
from cordee.plan.cli import plan
from cordee.plan.goodput.weak_links import Links, local, part_bytes, together
from cordee.train.policy.rounds import Cadence

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "weak_links.toml"
MEASURED = tomllib.loads(BENCHMARK.read_text())["measured"]
CARRIED = 1448 / 1514
"""Of an Ethernet frame of 1,500 bytes and its head, what TCP over IPv4 with timestamps carries (RFC 9293, 7323)."""


def links(
    gbit_s: float, replicas: int = 2, parameters: float = 1e9, compute_s: float = 1.0
) -> Links:
    return Links(
        replicas=replicas,
        parameters=parameters,
        compute_s=compute_s,
        rate_bytes_per_s=gbit_s * 1e9 / 8,
    )


def measured_links() -> Links:
    without_limit_s = MEASURED["tokens_a_step"] / MEASURED["ddp_without_limit_tokens_per_s"]
    return links(0.02 * CARRIED, parameters=MEASURED["parameters"], compute_s=without_limit_s)


def test_a_worker_sent_as_many_bytes_as_its_rounds_say() -> None:
    rounds = len(MEASURED["steps_between_exchanges"]) - 1  # the last is of the whole model
    fragment = part_bytes(MEASURED["parameters"] / Cadence().fragments)
    sent = rounds * fragment + part_bytes(MEASURED["parameters"])
    assert sent == MEASURED["payload_bytes_a_worker"]


def test_sums_over_a_link_of_20_mbit_were_somewhat_slower_than_that_link_allows() -> None:
    predicted = MEASURED["tokens_a_step"] / together(measured_links()).step_s
    assert MEASURED["ddp_tokens_per_s"] <= predicted <= 1.2 * MEASURED["ddp_tokens_per_s"]


def test_the_policy_settles_where_replicas_meet_as_often_as_in_no_part_of_the_measured_run() -> (
    None
):
    """Replicas are taken to be too far apart throughout; the measured ones came closer, and met later and later."""
    found = local(measured_links(), Cadence())
    assert found.steps_between == Cadence().least <= min(MEASURED["steps_between_exchanges"])
    assert found.step_s == measured_links().compute_s


def test_on_a_link_that_is_not_weak_nothing_is_lost_or_gained() -> None:
    strong = links(1e6)
    assert together(strong).step_s == pytest.approx(1.0, rel=1e-3)
    assert local(strong, Cadence()).step_s == pytest.approx(1.0)


def test_who_waits_for_the_link_however_rarely_replicas_meet_is_slower_by_what_it_carries() -> None:
    few, twice = (local(links(0.001 * n), Cadence()) for n in (1, 2))
    assert few.busy == twice.busy == pytest.approx(1.0)
    assert few.steps_between == 256
    assert few.step_s == pytest.approx(2 * twice.step_s)


def test_each_further_replica_makes_all_others_send_more() -> None:
    few, many = (local(links(10, replicas=n), Cadence()) for n in (2, 65))
    sent = [way.sent_bytes * way.steps_between for way in (few, many)]
    assert sent[1] == pytest.approx(64 * sent[0])


def run(*words: str) -> str:
    done = CliRunner().invoke(plan, ["goodput", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_says_what_mode_local_gives_back() -> None:
    words = ("Llama-3.1-70B", "--chips", "256", "--chip", "910B2", "--days", "1")
    found = run(*words, "--link-gbit-s", "10")
    assert "links of 10 Gbit/s" in found
    assert "wants a whole model in each worker" in found
    together_, local_ = json.loads(run(*words, "--link-gbit-s", "10", "--json"))["weak_links"]
    assert local_["step_s"] < together_["step_s"] / 10


def test_without_a_model_or_a_second_replica_it_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="name the MODEL"):
        run("--chips", "64", "--chip", "910B2", "--link-gbit-s", "1")
    with pytest.raises(UsageError, match="one replica"):
        links(1, replicas=1)
