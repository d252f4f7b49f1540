"""One of two processes of `test_resume.py`: python -m tests.run.ddp_resume_run CONFIG, in the folder of the runs."""

import os
import signal
import sys
from typing import Any

import torch

from ibca_lightning.model.module import MultiLabelModule
from tests.command_line import Result, ibca


def fit(*options: str) -> Result:
    return ibca("fit", *options, "--trainer.devices", "2", "--trainer.strategy", "ddp")


def main(config: str) -> None:
    """Fit without a stop; fit, and be stopped in the second process alone; go on."""
    saving = ("--save_every_n_steps", "2")
    whole = fit("--config", config, "--run_dir", "whole", *saving)
    assert whole.code == 0, whole.err

    step = MultiLabelModule.training_step

    def stopped(self: MultiLabelModule, *args: Any) -> Any:
        if self.global_rank == 1 and self.global_step == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *args)

    MultiLabelModule.training_step = stopped  # type: ignore[method-assign]
    part = fit("--config", config, "--run_dir", "part", *saving)
    MultiLabelModule.training_step = step  # type: ignore[method-assign]
    assert part.code == 143, part.err
    if os.environ["LOCAL_RANK"] == "0":
        assert "--ckpt_path part/checkpoints/last.ckpt" in part.err
    saved = torch.load("part/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 6, "the step was not finished and saved, or another one begun"

    end = fit("--config", "part/config.yaml", "--ckpt_path", "part/checkpoints/last.ckpt")
    assert end.code == 0, end.err


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
