"""What two runs printed is compared line by line, apart from what differs each time."""

from cordee.port.prove.lines import compared


def test_times_and_the_device_do_not_count() -> None:
    found = compared(
        "device npu:0\nstep 1 in 12.5 ms\nthe text", "device cpu\nstep 1 in 9 ms\nthe text"
    )
    assert found is not None
    assert (found.lines, found.same) == (3, 3)


def test_other_words_count() -> None:
    found = compared("a king sings", "a queen sings")
    assert found is not None
    assert (found.lines, found.same) == (1, 0)


def test_nothing_printed_is_nothing_compared() -> None:
    assert compared("\n", "") is None
