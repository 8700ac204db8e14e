"""What a user is shown of the log of a replica that did not start."""

from pathlib import Path

from cordee.serve.pool.logs import LINES, last_words

CAUSE = "ValueError: 20.9 GiB of memory are less than the 21.7 GiB that are wanted"


def test_the_first_error_is_shown_although_many_others_follow_from_it(tmp_path: Path) -> None:
    log = tmp_path / "vllm-0.log"
    log.write_text(
        "WARNING This can cause errors like `OSError: [Errno 24] Too many open files`\n"
        f"(Worker pid=7) ERROR [executor.py:953] {CAUSE}\n"
        + "  File core.py, line 1\n" * LINES
        + "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    shown = last_words(log, 0).splitlines()
    assert shown[0] == f"; {log}"
    assert shown[1].strip() == CAUSE
    assert shown[-1].strip().startswith("RuntimeError: Engine core")


def test_an_error_among_the_last_lines_is_shown_once(tmp_path: Path) -> None:
    log = tmp_path / "cpu-0.log"
    log.write_text(f"loading\n{CAUSE}\n")
    assert last_words(log, 0).count(CAUSE) == 1
