"""Is nothing lost where what members compute is summed before all of it is computed?"""

from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job

WIDE = str(SMALL.with_name("wide.py"))
BUCKETS = 5
"""One for each layer, and one for the loss."""
STEPS = list(range(6))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest after a run of one worker."""
    (digest,) = wide(tmp_path_factory.mktemp("alone"), "-n", "1").digests
    return digest


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of two in `fast` mode in which nothing happens: the sum of two numbers is the same in each order."""
    return wide(tmp_path_factory.mktemp("calm"), "-n", "2", "--mode", "fast")


def wide(folder: Path, *options: str, faults: tuple[Fault, ...] = (), errs: int = -1) -> Ended:
    ended = job(folder, WIDE, "--errs", str(errs), options=options, faults=faults)
    assert ended.code == 0, ended.err
    assert ended.steps == STEPS
    return ended


def each_bucket(*in_ci: int) -> list[object]:
    """All of them; those that are not named here only when there is time."""
    slow = pytest.mark.slow
    return [pytest.param(b, marks=() if b in in_ci else slow) for b in range(BUCKETS)]


@pytest.mark.parametrize("bucket", each_bucket(0, BUCKETS - 1))
def test_one_that_dies_at_a_bucket_costs_no_bit(bucket: int, alone: str, tmp_path: Path) -> None:
    fault: Fault = {"worker": 1, "step": 3, "at": "bucket", "bucket": bucket}
    ended = wide(tmp_path, "-n", "2", faults=(fault,))
    assert len(ended.of("recovered")) == 1
    assert set(ended.digests) == {alone}


@pytest.mark.parametrize("bucket", each_bucket(1))
def test_one_that_stops_at_a_bucket_costs_no_bit(bucket: int, alone: str, tmp_path: Path) -> None:
    fault: Fault = {"worker": 0, "step": 3, "at": "bucket", "bucket": bucket, "do": "stop"}
    ended = wide(tmp_path, "-n", "2", "--silent-s", "1.5", faults=(fault,))
    assert "worker 0 is evicted" in ended.out
    assert set(ended.digests) == {alone}


@pytest.mark.parametrize("bucket", each_bucket(2))
def test_in_fast_mode_the_others_go_on_with_the_same_parameters(
    bucket: int, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": 3, "at": "bucket", "bucket": bucket}
    ended = wide(tmp_path, "-n", "3", "--mode", "fast", faults=(fault,))
    assert len(ended.of("recovered")) == 1
    assert len(set(ended.digests)) == 1
    assert len(ended.digests) >= 2


def test_what_is_odd_is_computed_again_although_others_have_got_some_of_it(
    calm: Ended, tmp_path: Path
) -> None:
    ended = wide(tmp_path, "-n", "2", "--mode", "fast", errs=2)
    assert ended.of("evicted") == []
    assert set(ended.digests) == set(calm.digests)
    assert len(ended.digests) == 2


def test_what_a_chip_makes_that_is_no_number_is_seen_before_others_get_it(
    calm: Ended, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": 2, "at": "backward", "do": "nan"}
    ended = wide(tmp_path, "-n", "2", "--mode", "fast", faults=(fault,))
    assert set(ended.digests) == set(calm.digests)
