"""Losses are found in what a program prints, and compared."""

import math

from cordee.port.prove.losses import compared, losses


def test_losses_are_found_by_the_words_before_them() -> None:
    output = "iter 0: loss 4.2874, time 90ms\nstep 1: train loss 4.1, val loss 4.2\nLoss=1.5e-3\n"
    assert losses(output) == {
        "loss": (4.2874, 0.0015),
        "train loss": (4.1,),
        "val loss": (4.2,),
    }


def test_numbers_of_a_dictionary_are_found() -> None:
    assert losses("{'loss': 2.5, 'lr': 1e-4}\n{'eval_loss': 2.25}") == {
        "loss": (2.5,),
        "eval_loss": (2.25,),
    }


def test_numbers_behind_a_step_are_losses_where_none_is_named() -> None:
    output = "training:   0%|   | 0/20 [00:00<?, ?it/s]0: 2.89\n1: 2.5\nat 12:30 epoch 3: done\n"
    assert losses(output) == {"numbers of steps": (2.89, 2.5)}
    assert losses(f"{output}loss 1.5") == {"loss": (1.5,)}


def test_a_loss_that_is_not_a_number_agrees_with_nothing_else() -> None:
    (comparison,) = compared("loss nan", "loss 1.0")
    assert comparison.difference == math.inf


def test_the_largest_difference_over_the_value_counts() -> None:
    (comparison,) = compared("loss 2.0\nloss 1.0", "loss 2.0\nloss 1.1")
    assert math.isclose(comparison.difference, 0.1 / 1.1)


def test_a_run_that_stopped_earlier_does_not_agree() -> None:
    (comparison,) = compared("loss 2.0", "loss 2.0\nloss 1.1")
    assert comparison.difference == math.inf


def test_words_about_lossless_things_are_no_losses() -> None:
    assert losses("lossless 1, glossary: 2, loss_scale 65536") == {"loss_scale": (65536.0,)}
