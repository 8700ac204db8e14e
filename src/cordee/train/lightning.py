"""Lightning's Trainer in a job that goes on when a worker falls.

elastic = Elastic()
trainer = L.Trainer(callbacks=[elastic], devices=1, max_epochs=3)
trainer.fit(module, elastic.batches(loader))
"""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from cordee.core.errors import UsageError
from cordee.train.guest.others import Loop, Sharded, check_scaler


class Elastic(Callback):  # type: ignore[misc]
    """Gradients are those of all workers, and batches follow them."""

    def __init__(self, seed: int = 0) -> None:
        """`seed`: of the order of the data, where the loader shuffles."""
        self._loop, self._seed = Loop(), seed
        self._loss = 0.0

    def batches(self, loader: "DataLoader[Any]") -> Sharded:
        """What `fit` takes in place of the loader."""
        return self._loop.sharded(loader, self._seed)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise UsageError("a Trainer in a job has devices=1: cordee train starts the others")
        if not pl_module.automatic_optimization:
            raise UsageError(
                "manual optimization: write the loop with ct.Training instead: docs/train.md"
            )
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        check_scaler(scaler, 'precision="bf16-mixed" in place of "16-mixed"')
        save = trainer.strategy.save_checkpoint

        def saved(*given: Any, **named: Any) -> None:
            if self._loop.writes:
                save(*given, **named)

        trainer.strategy.save_checkpoint = saved

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._loop.batches is None:
            raise UsageError("give fit what Elastic.batches makes of the loader")
        if len(trainer.optimizers) != 1:
            raise UsageError(
                f"the module has {len(trainer.optimizers)} optimizers: it must have one"
            )
        schedulers: list[Any] = [config.scheduler for config in trainer.lr_scheduler_configs]
        self._loop.begin(pl_module, trainer.optimizers[0], schedulers)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        duet = self._loop.duet
        if duet is not None and not self._loop.replays:
            progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress
            progress.optimizer.step.total.completed = duet.step

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        self._loss = float(loss.detach()) * trainer.accumulate_grad_batches

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self._loop.reduce(self._loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._loop.end()
