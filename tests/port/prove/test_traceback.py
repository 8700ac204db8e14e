"""The words that say why a program failed, and what to do about an environment."""

from cordee.port.prove.hints import hints
from cordee.port.prove.traceback import last_traceback, last_words

TORCHRUN = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/tmp/x/train.py", line 7, in <module>
[rank0]:     build()
[rank0]: AttributeError: module 'torch.cpu' has no attribute 'HalfTensor'
E1125 failed (exitcode: 1) local_rank: 0
Traceback (most recent call last):
  File "/bin/torchrun", line 4, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============
  error_file: <N/A>
"""


def test_a_process_of_torchrun_says_it_and_not_torchrun() -> None:
    assert (
        last_words(TORCHRUN) == "AttributeError: module 'torch.cpu' has no attribute 'HalfTensor'"
    )
    assert 'File "/tmp/x/train.py", line 7' in last_traceback(TORCHRUN)


def test_an_error_without_words_is_named() -> None:
    output = (
        'Traceback (most recent call last):\n  File "x.py", line 1\n    assert a\nAssertionError\n'
    )
    assert last_words(output) == "AssertionError"


def test_of_errors_that_follow_each_other_the_last_counts() -> None:
    one = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 1\n'
    output = (
        f"{one}\nDuring handling of the above exception:\n\n{one.replace('KeyError', 'OSError')}"
    )
    assert last_words(output) == "OSError: 1"


def test_without_a_traceback_it_is_the_last_line() -> None:
    assert last_words("usage: x\nx: error: no --data\n\n") == "x: error: no --data"


def test_what_the_environment_or_a_cpu_lacks_has_a_hint() -> None:
    for output, word in (
        ("ModuleNotFoundError: No module named 'timm.data'", "`timm`"),
        ("/bin/sh: 1: torchrun: not found", "`torchrun`"),
        ("RuntimeError: operator torchvision::nms does not exist", "--index-url"),
        (
            "ValueError: DistributedDataParallel device_ids and output_device arguments only work with "
            "single-device/multiple-device GPU modules or CPU modules, but got device_ids [0]",
            "DistributedDataParallel None",
        ),
    ):
        (hint,) = hints(output)
        assert word in hint
    assert not list(hints("KeyError: 1"))
