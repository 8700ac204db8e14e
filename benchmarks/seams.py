"""Is an answer that vLLM goes on with from its tokens the answer that nobody disturbed?

python benchmarks/seams.py URL [--prompts 20]: asks one vLLM that has our plug-in, cuts each answer at several places,
and asks for the rest from the ids of prompt and answer. Writes what it saw to seams.json beside this file.
"""

import asyncio
import json
from pathlib import Path

import click

from cordee.core.http.client import Client
from cordee.core.http.loop import run

TOKENS = 80
CUTS = range(3, TOKENS, 11)
WORDS = {"frequency_penalty": 0.4, "presence_penalty": 0.3, "repetition_penalty": 1.05}
KINDS: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0},
    "greedy, penalties": {"temperature": 0} | WORDS,
    "sampled": {"temperature": 0.8},
    "sampled, top_p": {"temperature": 1.0, "top_p": 0.9},
    "sampled, all": {"temperature": 1.0, "top_k": 200, "top_p": 0.95, "min_p": 0.001} | WORDS,
}


async def ids_of(
    client: Client, url: str, prompt: list[int], kind: str, said: list[int]
) -> list[int]:
    """The tokens of an answer after those that were said."""
    body = KINDS[kind] | {
        "prompt": prompt + said,
        "max_tokens": TOKENS - len(said),
        "ignore_eos": True,
        "return_token_ids": True,
        "seed": sum(prompt),
        "vllm_xargs": {"cordee_said": len(said)},
    }
    sent = json.dumps(body).encode()
    reply = await client.request(f"{url}/v1/completions", method="POST", body=sent, timeout_s=300)
    made: list[int] = json.loads(reply.body)["choices"][0]["token_ids"]
    return made


async def compared(url: str, prompts: int) -> dict[str, dict[str, int]]:
    client, four = Client(), asyncio.Semaphore(4)
    seen: dict[str, dict[str, int]] = {}

    async def equal(number: int, kind: str) -> int:
        prompt = [5 + (7 * number + 13 * i * i) % 1900 for i in range(6 + number % 9)]
        async with four:
            whole = await ids_of(client, url, prompt, kind, [])
            rests = [await ids_of(client, url, prompt, kind, whole[:cut]) for cut in CUTS]
        return sum(whole[cut:] == rest for cut, rest in zip(CUTS, rests, strict=True))

    for kind in KINDS:
        counts = await asyncio.gather(*(equal(number, kind) for number in range(prompts)))
        seen[kind] = {
            "answers": prompts,
            "equal": sum(count == len(CUTS) for count in counts),
            "cuts": prompts * len(CUTS),
            "cuts equal": sum(counts),
        }
        print(kind, seen[kind], flush=True)
    await client.close()
    return seen


@click.command()
@click.argument("url")
@click.option("--prompts", default=20)
def main(url: str, prompts: int) -> None:
    seen = run(compared(url.rstrip("/"), prompts))
    Path(__file__).with_name("seams.json").write_text(json.dumps(seen, indent=1) + "\n")


if __name__ == "__main__":
    main()
