"""The one sentence that says what to do next."""

from collections.abc import Sequence

from cordee.core.pages.numbers import count_text, plural
from cordee.port.hours import work_text
from cordee.port.prove.proof import Proof
from cordee.port.score import Score
from cordee.port.ties import File, State


def next_step(files: Sequence[File], score: Score, proof: Proof | None = None) -> str:
    """Rewriting first, then what blocks, then the file with most work, then a run that proves it."""
    if proof is not None and not score.left:
        if proof.holds:
            return "Every tie is settled, and the program has run on a virtual chip: try it on a real one."
        return "Every tie is settled, but the program did not do on a virtual chip what it does on the CPU: see the proof."
    if not score.ties:
        unread = sum(bool(file.judged.problem) for file in files)
        but = f"; look at the {plural(unread, 'file')} that could not be read" if unread else ""
        return f"Nothing to do: no tie to NVIDIA was found in what was read{but}."
    ready = score.states[State.REWRITABLE]
    if ready:
        rest = f", which leaves {count_text(score.left)} for people" if score.left else ""
        ties = (
            "the tie"
            if ready == score.ties == 1
            else f"{count_text(ready)} of {plural(score.ties, 'tie')}"
        )
        return f"Run `cordee port`: it rewrites {ties} without anybody{rest}."
    if score.blockers:
        first = max(
            files, key=lambda file: sum(tie.work.middle_h for tie in file.ties if tie.is_blocker)
        )
        tie = next(tie for tie in first.ties if tie.is_blocker)
        where = f"`{tie.finding.path}`, line {count_text(tie.finding.line)}"
        return (
            f"Begin with what blocks: {plural(score.blockers, 'tie')}, most of the work in {where}."
            if score.blockers > 1
            else f"Begin with what blocks, in {where}."
        )
    if score.left:
        worst = max(files, key=lambda file: file.work.middle_h)
        return (
            f"Go through `{worst.judged.path}`: {count_text(len(worst.left))} of the "
            f"{plural(score.left, 'tie')} left, {work_text(worst.work)} of work."
        )
    return (
        "Every tie is settled: run the program under `cordee run` to see it work on a virtual chip."
    )
