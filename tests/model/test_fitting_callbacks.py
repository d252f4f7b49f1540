"""Callbacks of Lightning that would end a run of ours in its middle, or spoil its weights."""

import pytest
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
)

from ibca_lightning.system.errors import InputError
from tests.training import Pictures, loader, module, trainer


class Adding(BaseFinetuning):
    """Adds the backbone to the optimiser, as Lightning's documentation shows."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.backbone)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.backbone, optimizer)


@pytest.mark.parametrize(
    ("callbacks", "options", "said"),
    [
        ([BackboneFinetuning()], {}, "got BackboneFinetuning; give --model.unfreeze_at_epoch"),
        ([GradientAccumulationScheduler({0: 2})], {}, "give --trainer.accumulate_grad_batches"),
        ([StochasticWeightAveraging([1e-3])], {}, "optimiser's 4 groups, got 1 of them; give one number"),
        ([EMAWeightAveraging()], {"ema_decay": 0.9}, "got EMAWeightAveraging and model.ema_decay; leave"),
        ([StochasticWeightAveraging(1e-3)], {"ema_decay": 0.9}, "got StochasticWeightAveraging and model.ema_decay"),
    ],
)
def test_what_does_not_go_with_the_module_is_refused_before_the_first_step(callbacks, options, said):
    run = trainer(callbacks=callbacks)
    with pytest.raises(InputError, match=said):
        run.fit(module(**options), loader(Pictures(8)), loader(Pictures(8)))
    assert run.global_step == 0


def test_a_group_that_is_added_behind_the_scheduler_is_named():
    run = trainer(callbacks=[Adding()], max_epochs=2)
    with pytest.raises(InputError, match=r"that the optimiser began with, got .*unfreeze_at_epoch"):
        run.fit(module(), loader(Pictures(8)), loader(Pictures(8)))
