"""The last chapter: the trained model is served by two replicas, of which one is killed in the middle of an answer."""

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cordee.core.ports import free_port
from cordee.core.programs import Program
from cordee.journey.commands import LOOK_S, ChapterFailed, Desk, failed

CHIP = "Ascend910B3"
ANSWER_S = 120.0
PROMPT = "KING RICHARD II:\n"
REPLICA = re.compile(r"^: replica (\S+)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of the answer: its text, who made it, and when, in seconds since the request."""

    text: str
    replica: str
    second: float


@dataclass(frozen=True, slots=True)
class Served:
    """An answer that went on elsewhere, beside the same one undisturbed."""

    prompt: str
    pieces: tuple[Piece, ...]
    killed: str
    killed_at: int
    undisturbed: str

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def is_the_same(self) -> bool:
        return self.text == self.undisturbed

    @property
    def seam(self) -> int:
        """The number of the first token that another replica made."""
        first = self.pieces[0].replica
        return next(n for n, piece in enumerate(self.pieces) if piece.replica != first)

    @property
    def gap_s(self) -> float:
        return self.pieces[self.seam].second - self.pieces[self.seam - 1].second

    @property
    def usual_s(self) -> float:
        """Between two tokens when nothing happens, the median."""
        seconds = [piece.second for piece in self.pieces]
        gaps = sorted(b - a for a, b in pairwise(seconds))
        return gaps[len(gaps) // 2]


def serve(desk: Desk, model: Path, tokens: int, kill_at: int, seed: int) -> Served:
    """Serve `model` on two virtual chips; kill -9 the replica that answers when `kill_at` tokens are there."""
    port = free_port()
    options = ["--replicas", "2", "--chip", CHIP, "--chips", "2", "--port", str(port)]
    body = {
        "prompt": PROMPT,
        "max_tokens": tokens,
        "temperature": 0.8,
        "seed": seed,
        "ignore_eos": True,
    }
    with desk.start("serve", ["serve", str(model), *options]) as running:
        _wait_for_replicas(running, port, 2)
        desk.say(f"two replicas listen; asked: {PROMPT.strip()!r}, sampled with seed {seed}")
        pieces: list[Piece] = []
        killed = ""
        for piece in _answer(port, body):
            pieces.append(piece)
            if len(pieces) == kill_at:
                killed, pid = _who_answers(port, piece.replica)
                desk.say(f"kill -9 {pid}  # {killed}, after {kill_at} tokens")
                os.kill(pid, signal.SIGKILL)
        _wait_for_replicas(running, port, 1)
        undisturbed = "".join(piece.text for piece in _answer(port, body))
    served = Served(PROMPT, tuple(pieces), killed, kill_at, undisturbed)
    if len({piece.replica for piece in pieces}) < 2:
        raise ChapterFailed(
            f"serve: {killed} was killed, and no other replica went on: {running.log}"
        )
    same = "the same" if served.is_the_same else "NOT the same"
    desk.say(f"another one went on after {served.gap_s:.2f} s; the answer is {same} as undisturbed")
    return served


def _answer(port: int, body: dict[str, Any]) -> Iterator[Piece]:
    """The tokens of an answer as they come. Raises `ChapterFailed` where it breaks off."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    headers = {"content-type": "application/json", "x-cordee-trace": "1"}
    began_s = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps({**body, "stream": True}), headers)
    response = connection.getresponse()
    replica = "?"
    try:
        for raw in response:
            line = raw.decode().strip()
            if found := REPLICA.match(line):
                replica = found[1]
            elif line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise ChapterFailed(f"serve: the answer broke off: {chunk['error']['message']}")
                if text := chunk["choices"][0]["text"]:
                    yield Piece(text, replica, time.monotonic() - began_s)
    finally:
        connection.close()


def _who_answers(port: int, replica: str) -> tuple[str, int]:
    found = next(r for r in _replicas(port) if r["name"] == replica)
    return replica, found["pid"]


def _wait_for_replicas(running: Program, port: int, least: int) -> None:
    while sum(r["state"] == "ready" for r in _replicas(port)) < least:
        if running.ended:
            raise failed("serve", running)
        time.sleep(LOOK_S)


def _replicas(port: int) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/cordee/status")
        status = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()
    return [replica for pool in status["pools"] for replica in pool["replicas"]]
