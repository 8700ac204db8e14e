"""OpenAI's clients for tests, closed with what they call: left to the garbage collector, their sockets warn in another test."""

import openai


class Callers:
    """Those of one service or engine."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: list[openai.OpenAI] = []

    def new(self, key: str = "none", **options: object) -> openai.OpenAI:
        made = openai.OpenAI(base_url=f"{self._url}/v1", api_key=key, max_retries=0, **options)  # type: ignore[arg-type]
        self._known.append(made)
        return made

    def close(self) -> None:
        for client in self._known:
            client.close()
