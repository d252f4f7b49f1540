"""What `test_distributed.py` runs, also in processes of its own: python -m tests.run.ddp_run OUT PROCESSES."""

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from ibca_lightning.heads import GAPHead, IBCAHead
from ibca_lightning.run.callbacks.results import WriteResults
from tests.training import Data, Pictures, best, loader, module, trainer


class Unused(Callback):
    """DDP itself fails at the second step when a parameter took no part; this names it."""

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        unused = [name for name, p in pl_module.named_parameters() if p.requires_grad and p.grad is None]
        assert not unused, unused


def unfrozen(folder: Path, processes: int, options: dict[str, Any]) -> None:
    """Fit a backbone that DDP does not see, as it is frozen when DDP begins."""
    model = module(backbone="test_vit", unfreeze_at_epoch=1)
    run = trainer(max_epochs=3, callbacks=[Unused()], **options)
    run.fit(model, loader(Pictures(16), 16 // processes), loader(Pictures(8, seed=1), 4))
    torch.save(model.state_dict(), folder / f"unfrozen{run.global_rank}.pt")


def main(folder: Path, processes: int) -> None:
    """Fit GAP and IBCA, then test and predict on 13 pictures, which 2 processes cannot share evenly."""
    options = {"devices": processes, "strategy": "ddp" if processes > 1 else "auto", "log_every_n_steps": 1}
    unfrozen(folder, processes, options)
    for name, head in (("gap", GAPHead), ("ibca", IBCAHead)):
        # One batch an epoch: it holds the same pictures however a sampler shares and orders them.
        train, test = Pictures(16), Pictures(13, seed=1, known=False, masks=True)
        # No BatchNorm: it sees each process's batch.
        model = module(backbone="test_vit", head=head, ema_decay=0.5, calibration="temperature")
        checkpoint = best(folder / name)
        run = trainer(max_epochs=2, callbacks=[Unused(), checkpoint, WriteResults(folder / name)], **options)
        run.fit(model, loader(train, 16 // processes), loader(test, 4))
        if run.is_global_zero:
            logged = {key: float(value) for key, value in run.callback_metrics.items()}
            torch.save({"state": model.state_dict(), "logged": logged}, folder / f"{name}.pt")
        start = module(backbone="test_vit", head=head)  # equal weights in both runs
        run = trainer(callbacks=[WriteResults(folder / name)], **options)
        run.test(start, datamodule=Data({"test": test}), verbose=False)
        run = trainer(callbacks=[WriteResults(folder / name)], **options)
        run.predict(start, datamodule=Data({"test": test}), return_predictions=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
