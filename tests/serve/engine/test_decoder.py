"""Does a decoder give the logits of transformers, and the same bits however it is asked?"""

from pathlib import Path

import numpy as np
import pytest
from tests.serve.engine.reference_models import FAMILIES, PROMPTS
from tests.serve.engine.steps import decoder, logits_of, rows_of


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_those_of_transformers(models: Path, family: str) -> None:
    model = decoder(models / family)
    expected = np.load(models / family / "reference.npz")
    for prompt, name in zip(PROMPTS, expected.files, strict=True):
        logits = logits_of(model, prompt, [len(prompt)])
        np.testing.assert_allclose(logits, expected[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_in_pieces_or_token_by_token_gives_the_same_bits(
    models: Path, family: str
) -> None:
    model, ids = decoder(models / family, threads=2), PROMPTS[1]
    whole = logits_of(model, ids, [len(ids)])
    for steps in ([1] * len(ids), [50, 2, 1, 44], [3, 16, 17, 4, 57]):
        assert np.array_equal(whole, logits_of(model, ids, steps))


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "gpt2"])
def test_what_else_is_in_the_batch_changes_no_bit(models: Path, family: str, weights: str) -> None:
    model = decoder(models / family, threads=2, weights=weights)
    alone = [logits_of(model, ids, [len(ids)], first_block=3) for ids in PROMPTS]
    tables = [[9, 0, 0, 0, 0, 0, 0], [2, 4, 1, 3, 8, 6, 7], [5, 0, 0, 0, 0, 0, 0]]
    together = model.logits(rows_of([(0, ids) for ids in PROMPTS], tables), model.cache(10))
    assert np.array_equal(np.concatenate(alone), together)


def test_int8_weights_stay_near_the_models_own(models: Path) -> None:
    ids = PROMPTS[1]
    exact = logits_of(decoder(models / "qwen3"), ids, [len(ids)])
    near = logits_of(decoder(models / "qwen3", weights="int8"), ids, [len(ids)])
    assert np.abs(near - exact).max() < 0.1 * np.abs(exact).max()
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.999
