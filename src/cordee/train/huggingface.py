"""Hugging Face's Trainer in a job that goes on when a worker falls: `from cordee.train.huggingface import Trainer`.

Another trainer, as TRL's, gets it by inheritance: `class MyTrainer(Elastic, SFTTrainer)`.
"""

from typing import Any

import transformers
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cordee.core.errors import UsageError
from cordee.train.guest.others import Loop, Sharded, check_scaler


class Elastic:
    """What a Trainer does otherwise."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        trainer: Any = self
        self._loop = Loop()
        if trainer.args.world_size > 1:
            raise UsageError("start this script with cordee train alone: it has ranks already")
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise UsageError("a Trainer with DeepSpeed or FSDP cannot go on when a worker falls")
        check_scaler(trainer.accelerator.scaler, "bf16=True in place of fp16=True")
        trainer.add_callback(_Following(self._loop))

    def train(self, *given: Any, **named: Any) -> Any:
        trained = super().train(*given, **named)  # type: ignore[misc]
        self._loop.end()
        return trained

    def get_train_dataloader(self) -> Sharded:
        trainer: Any = self
        if isinstance(trainer.train_dataset, IterableDataset):
            raise UsageError(
                "train_dataset is an IterableDataset: what a lost worker had of it cannot be given to others"
            )
        args: TrainingArguments = trainer.args
        loader: DataLoader[Any] = DataLoader(
            trainer.train_dataset,
            batch_size=args.per_device_train_batch_size,
            shuffle=True,
            collate_fn=trainer.data_collator,
            num_workers=args.dataloader_num_workers,
            drop_last=args.dataloader_drop_last,
        )
        return self._loop.sharded(loader, args.data_seed or args.seed)

    def training_step(self, *given: Any, **named: Any) -> Tensor:
        loss: Tensor = super().training_step(*given, **named)  # type: ignore[misc]
        trainer: Any = self
        if trainer.accelerator.sync_gradients:
            self._loop.reduce(float(loss) * trainer.args.gradient_accumulation_steps)
        return loss

    def _save_checkpoint(self, *given: Any, **named: Any) -> None:
        if self._loop.writes:
            super()._save_checkpoint(*given, **named)  # type: ignore[misc]

    def save_model(self, *given: Any, **named: Any) -> None:
        if self._loop.writes:
            super().save_model(*given, **named)  # type: ignore[misc]


class _Following(TrainerCallback):  # type: ignore[misc]
    """Begins when the Trainer does, and keeps its count of steps that of the job."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **found: Any
    ) -> None:
        optimizer, scheduler = found["optimizer"], found["lr_scheduler"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's stands before it
        scheduler = getattr(scheduler, "scheduler", scheduler)
        self._loop.begin(found["model"], optimizer, [scheduler])

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        duet = self._loop.duet
        if duet is not None and not self._loop.replays:
            state.global_step = duet.step


class Trainer(Elastic, transformers.Trainer):  # type: ignore[misc]
    """Hugging Face's, with gradients that are those of all workers, and batches that follow them."""
