"""A small model trained by Hugging Face's Trainer, with one changed line: whose Trainer it is."""

import hashlib
import os
import sys
import time

sys.modules["torch_npu"] = None  # type: ignore[assignment]
# transformers imports it where it is installed, and it needs a chip to be imported.

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from transformers import TrainerCallback, TrainingArguments  # noqa: E402

from cordee.train.huggingface import Trainer  # noqa: E402


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layers(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Slow(TrainerCallback):
    def on_step_end(self, *_: object, **__: object) -> None:
        time.sleep(float(sys.argv[2]))


def main() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(240, 8, generator=generator)
    y = (x.sum(1) > 0).long() + 2 * (x[:, 0] > 0).long()
    data = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    args = TrainingArguments(
        output_dir=sys.argv[1],
        num_train_epochs=3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=3e-2,
        lr_scheduler_type="cosine",
        save_steps=10,
        logging_steps=10,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    model = Small()
    trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[Slow()])
    trainer.train()
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.numpy().tobytes())
    model.eval()
    right = (model(x, y)["logits"].argmax(1) == y).float().mean()
    steps = trainer.state.global_step
    print("digest", made.hexdigest()[:16], f"{right:.3f}", steps, os.environ["CORDEE_TRAIN_RANK"])


if __name__ == "__main__":
    main()
