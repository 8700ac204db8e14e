"""A small model trained by Lightning's Trainer, with what a job of several workers needs."""

import hashlib
import os
import sys
import time

sys.modules["torch_npu"] = None  # type: ignore[assignment]
# Lightning imports it where it is installed, and it needs a chip to be imported.

import lightning  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from cordee.train.lightning import Elastic  # noqa: E402


class Small(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        time.sleep(float(sys.argv[2]))
        return F.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> object:
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def main() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(240, 8, generator=generator)
    y = (x.sum(1) > 0).long() + 2 * (x[:, 0] > 0).long()
    model, elastic = Small(), Elastic()
    trainer = lightning.Trainer(
        default_root_dir=sys.argv[1],
        max_epochs=3,
        accelerator="cpu",
        devices=1,
        callbacks=[elastic],
        gradient_clip_val=1.0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)
    trainer.fit(model, elastic.batches(loader))
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.numpy().tobytes())
    right = (model.layers(x).argmax(1) == y).float().mean()
    place = os.environ["CORDEE_TRAIN_RANK"]
    print("digest", made.hexdigest()[:16], f"{right:.3f}", trainer.global_step, place)


if __name__ == "__main__":
    main()
