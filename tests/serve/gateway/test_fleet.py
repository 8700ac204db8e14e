"""What a replica remembers of its own failures."""

from cordee.serve.gateway.fleet import Pool, Replica


def test_the_last_of_those_that_fall_together_was_not_alone() -> None:
    replica, among = Replica("a", "", Pool("p", "m")), []
    for replica.running, now_s in ((3, 10.0), (2, 10.1), (1, 10.9)):
        among.append(replica.fell(now_s))
    assert among == [3, 3, 3]


def test_one_that_falls_alone_later_was_alone() -> None:
    replica = Replica("a", "", Pool("p", "m"), running=3)
    replica.fell(10.0)
    replica.running = 1
    assert replica.fell(20.0) == 1
