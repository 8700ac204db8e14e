"""Characters of a text file as tokens, brought to the GPU one batch ahead on a stream of their own."""

from pathlib import Path

import torch

TEXT = Path(__file__).parent / "data" / "shakespeare.txt"


class Vocabulary:
    def __init__(self, text):
        self.chars = sorted(set(text))
        self.index = {char: i for i, char in enumerate(self.chars)}

    def __len__(self):
        return len(self.chars)

    def encode(self, text):
        return torch.tensor([self.index[char] for char in text], dtype=torch.long)

    def decode(self, tokens):
        return "".join(self.chars[i] for i in tokens)


def load(path=TEXT):
    """Vocabulary, training tokens and validation tokens (the last tenth)."""
    text = Path(path).read_text()
    vocabulary = Vocabulary(text)
    tokens = vocabulary.encode(text)
    split = int(0.9 * len(tokens))
    return vocabulary, tokens[:split], tokens[split:]


def batch(tokens, size, block, seed):
    """Inputs and targets, (size, block) each, from random places that `seed` decides."""
    places = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - block - 1, (size,), generator=places)
    rows = torch.stack([tokens[start : start + block + 1] for start in starts])
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


class CUDAPrefetcher:
    """Copies the next batch from pinned memory while the GPU computes on this one."""

    def __init__(self, batches, device):
        self.batches = iter(batches)
        self.device = device
        self.stream = torch.cuda.Stream(device=device)
        self._preload()

    def _preload(self):
        self.ready = next(self.batches, None)
        if self.ready is None:
            return
        with torch.cuda.stream(self.stream):
            self.ready = tuple(
                tensor.pin_memory().to(self.device, non_blocking=True) for tensor in self.ready
            )

    def __iter__(self):
        while self.ready is not None:
            torch.cuda.current_stream().wait_stream(self.stream)
            current = self.ready
            for tensor in current:
                tensor.record_stream(torch.cuda.current_stream())
            self._preload()
            yield current
