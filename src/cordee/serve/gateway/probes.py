"""Asks the replicas of a model the same from time to time, and has those dealt with that answer otherwise."""

import asyncio
from collections.abc import Sequence

import msgspec

from cordee.core.http.client import Client, Unreachable
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.fleet import Replica
from cordee.serve.gateway.health import Health
from cordee.serve.gateway.record import COMPLETIONS
from cordee.serve.policy.agreement import Sample, judge

QUESTION = "Once upon a time there"
"""Shorter than a block of the cache, so that all of it is computed each time."""
TOKENS = 24
TIMEOUT_S = 30.0
IDLE_SHARE = 0.5
"""A replica with more of the requests that it may have is not asked now."""


class Logprobs(msgspec.Struct):
    """The part of an answer that says how likely its tokens were."""

    tokens: list[str] = []
    token_logprobs: list[float] = []


class Choice(msgspec.Struct):
    """The part of an answer that is read."""

    text: str = ""
    token_ids: list[int] | None = None
    logprobs: Logprobs | None = None


class Answer(msgspec.Struct):
    """A whole completion."""

    choices: list[Choice]


class Probes:
    """Compares replicas with each other, and with themselves."""

    def __init__(self, dispatcher: Dispatcher, health: Health) -> None:
        self._dispatcher, self._health = dispatcher, health
        self._client = Client()
        self._former: dict[str, Sample] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(self._dispatcher.config.probe_s)
            replicas = [r for r in self._dispatcher.fleet.replicas() if self._may_ask(r)]
            for model in dict.fromkeys(replica.pool.model for replica in replicas):
                await self._compare([r for r in replicas if r.pool.model == model])
            self._dispatcher.totals.probes += 1

    def _may_ask(self, replica: Replica) -> bool:
        busy = replica.running > IDLE_SHARE * self._dispatcher.config.replica_requests
        if replica.pool.role == "shadow" or busy or replica.told_waiting:
            return False
        return replica.state == "ready" or bool(replica.mistrusted)

    async def _compare(self, replicas: Sequence[Replica]) -> None:
        asked = {replica.name: (replica, replica.restarts) for replica in replicas}
        answers = await asyncio.gather(*(self._ask(replica) for replica in replicas))
        samples = [answer for answer in answers if answer is not None]
        verdict = judge(samples, self._former)
        for sample in samples:
            replica, restarts = asked[sample.replica]
            reason = verdict.wrong.get(sample.replica)
            if reason is None:
                self._former[sample.replica] = sample
                replica.mistrusted = "" if not verdict.undecided else replica.mistrusted
            elif not replica.mistrusted and replica.restarts == restarts:
                replica.mistrusted = reason
                replica.disagreements += 1
                self._health.lost(replica, reason)
        if verdict.undecided:
            text = "answer one question differently, and nobody knows which of them is right"
            self._dispatcher.events.add("probe", ", ".join(verdict.undecided), text)

    async def _ask(self, replica: Replica) -> Sample | None:
        body: dict[str, object] = {
            "model": replica.pool.model,
            "prompt": QUESTION,
            "max_tokens": TOKENS,
            "temperature": 0,
            "seed": 0,
            "logprobs": 1,
        }
        if replica.pool.kind != "openai":
            body |= {"ignore_eos": True, "return_token_ids": True}
        try:
            reply = await self._client.request(
                replica.url + COMPLETIONS,
                method="POST",
                body=msgspec.json.encode(body),
                timeout_s=TIMEOUT_S,
            )
            choice = msgspec.json.decode(reply.body, type=Answer).choices[0]
        except (Unreachable, msgspec.DecodeError, IndexError):
            return None  # whether it lives is another's question
        logprobs = choice.logprobs or Logprobs()
        tokens = choice.token_ids or logprobs.tokens or [choice.text]
        values = tuple(logprobs.token_logprobs)
        return Sample(replica.name, replica.numerics, tuple(tokens), values)
