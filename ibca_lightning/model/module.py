"""The one LightningModule: any backbone, any head, any loss; the figures of the contract at validation and test."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.tables.split_file import trained_on, training_rows
from ibca_lightning.heads import Head, HeadOutput, IBCAHead, PairHead
from ibca_lightning.heads.base import require_output
from ibca_lightning.losses import Loss, MaskedBCE, require_scalar
from ibca_lightning.metrics.calibration import Calibration, calibrated
from ibca_lightning.metrics.decision import OperatingPoints, few_positives
from ibca_lightning.metrics.evaluation import Evaluation, evaluate
from ibca_lightning.metrics.thresholds import ThresholdRule, choose_points
from ibca_lightning.model import divergence
from ibca_lightning.model.averaging import AveragedWeights
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.callbacks.early_stopping import RunEarlyStopping
from ibca_lightning.model.callbacks.fitting import require_fitting_callbacks, require_own_groups
from ibca_lightning.model.callbacks.watched import NewScore, of_validation, require_validation
from ibca_lightning.model.checkpoint import (
    ModelSpec,
    fitting_head,
    head_spec,
    read_checkpoint,
    require_fitting_weights,
    require_same_model,
)
from ibca_lightning.model.compilation import Compiled, require_whole_steps
from ibca_lightning.model.epoch_sums import EpochSums
from ibca_lightning.model.fine_tuning.init_from import initialise_from
from ibca_lightning.model.fine_tuning.layer_decay import layer_scales
from ibca_lightning.model.fine_tuning.lora import adapt, merged
from ibca_lightning.model.fine_tuning.unfreezing import Unfreezing
from ibca_lightning.model.gathered import Gathered, logged_figures, training_labels
from ibca_lightning.model.module_options import (
    require_batch,
    require_class_names,
    require_fine_tuning,
    require_options,
    with_channels,
)
from ibca_lightning.model.network import Network, NetworkTeacher, require_fitting_backbone
from ibca_lightning.model.optimisation import (
    by_epoch,
    fuse,
    is_fused,
    parameter_groups,
    require_same_groups,
    say_kind,
    set_rates,
    warmup_cosine,
)
from ibca_lightning.model.weights.normalisation import Normalisation
from ibca_lightning.system.errors import DataWarning, InputError, NonFiniteError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from ibca_lightning.terms import Setting, Step, Term, Terms

log = logging.getLogger(__name__)
Batch = Mapping[str, Any]
MONITOR = "val/monitor"
_TRAINING_KEY = "ibca_training"  # what a checkpoint holds to go on from
_TERMS_KEY = "ibca_terms"  # the state of the training terms


class MultiLabelModule(Network, pl.LightningModule):
    """Trains, validates and tests any backbone with any head.

    `num_labels`, `class_names`, `image_size` and `preprocessing` come from the data module (the command line links
    them). Pictures arrive as uint8 and are normalised here, on the device, with the backbone's own mean and std.
    A batch may hold `"features"`, the stored maps of a frozen backbone (see `stages`), in place of `"image"`.

    The default optimiser is AdamW with a linear warm-up and a cosine decay over the whole run, stepped every batch.
    **Learning rate and batch size**: nothing is scaled behind your back. The rate belongs to the *global* batch
    (`batch_size` x devices x `accumulate_grad_batches`), because DDP averages gradients: two processes of 8 take the
    same step as one of 16. When you change the global batch by a factor k, multiply the rate by sqrt(k) for AdamW
    (Malladi et al. 2022, arXiv 2205.10287) or by k for SGD (Goyal et al. 2017, arXiv 1706.02677).

    Args:
        num_labels: L, the number of classes.
        class_names: L names, in the order of the label columns.
        image_size: S, the side in pixels of the square pictures; a ViT is built for it.
        backbone: Any timm model name.
        pretrained: Fetch timm's pretrained weights.
        checkpoint_path: A local file of backbone weights (.safetensors or .pth); wins over `pretrained`.
        feature_stride: 32, 16 or 8, or a list such as [16, 32] whose maps are resized to the finest and concatenated.
        freeze_backbone: Keep the backbone as it is, BatchNorm statistics too.
        unfreeze_at_epoch: Keep it so until this epoch, counted from 0, and train it from there on; its rate is then
            where the schedule is.
        lora_rank: Of the backbone its linear layers alone learn, each a sum of this rank (LoRA), such as 8; of one
            without such layers, its convolutions.
        layer_decay: In (0, 1); each layer of the backbone has this multiple of the rate of the layer above it, the last
            of them of `backbone_lr_scale`.
        normalise_features: Bring every channel of the feature map to mean 0 and deviation 1 (BatchNorm without
            parameters) before the head. Meant for frozen backbones, whose channels differ in scale and cannot adapt.
        head: Called with (channels, num_labels); in YAML a class path and its options.
        loss: Classification loss on (logits, labels); default `MaskedBCE`.
        terms: What else the loss has, such as `[mask_guidance]` (ibca list terms); a term may also correct labels.
        optimizer: Called with parameter groups.
        learning_rate: The optimiser's rate, above 0, in place of its own; None keeps that.
        scheduler: Called with the optimiser and stepped once an epoch; default is warm-up + cosine, stepped each batch.
            A ReduceLROnPlateau of mode max watches the validation mAP, one of mode min the validation loss; its
            patience counts epochs that have a validation.
        backbone_lr_scale: The backbone's learning rate as a multiple of the head's.
        warmup_fraction: Share of all steps, in [0, 1), that the default schedule warms up over.
        ema_decay: Keep an exponential moving average of the weights with this decay, in (0, 1), after n steps at most
            (1 + n) / (10 + n); validation, test and checkpoints then use the average. None switches it off.
        early_stopping_patience: Stop after this many validations without a better mAP. None switches it off.
        init_from: An IBCA checkpoint to start from; its labels may differ, classes are matched by name.
        preprocessing: Plain data from the data module that `predict` needs to read a picture as training did, such as
            `{"resize": "pad"}`; None is `{"resize": "stretch"}`.
        thresholds: How each class's threshold is chosen on the validation set, and stored: `f1` for the best F1,
            `{sensitivity: 0.9}` or `{precision: 0.8}` for at least so much, `fixed` for 0.5.
        calibration: What is fitted to the validation logits and stored: `temperature`, one scale for all classes, or
            `platt`, a scale and an offset a class. Test, predict and export then give calibrated probabilities, to
            which the thresholds and every figure belong. While fitting, the figures are of the plain sigmoid.
        channels_last: Keep the backbone's weights and maps in NHWC order, which convolutions run faster in on most
            devices, above all in bf16.
        compile: What `torch.compile` works on: `none`, the `head`, whose many small operations become few, or `all`,
            the backbone too; true is `all`, false `none`. The first steps then take minutes. Weights keep
            their names, so a checkpoint of a compiled model is one like any other.
        in_channels: Channels of the pictures, to which pretrained weights are adapted as timm does; None takes those of
            `preprocessing`, which are data.in_channels.
        compile_backend: Of `torch.compile`. `inductor` is fast and needs a C++ compiler; it draws other random numbers
            than eager does, so that a head which draws or drops takes other, equally good steps.
        feature_blocks: Of a ViT, the last so many blocks side by side, and behind them their class tokens, the same at
            every position; 0 is the final map alone.
        normalisation: Mean and standard deviation of the pictures: `imagenet`, `clip`, `half` (0.5), or
            `{mean: [...], std: [...]}` on the scale of 0 to 1. `auto` takes those of `init_from`, else of the published
            set that `checkpoint_path` is known to be, else timm's of the backbone.

    Raises:
        InputError: When a value is out of its range, or a file does not fit.

    Examples:
        >>> from ibca_lightning import MultiLabelModule
        >>> module = MultiLabelModule(2, ["drusen", "scar"], image_size=64, backbone="test_resnet", pretrained=False)
        >>> module.spec.head["class_path"]  # what a checkpoint will hold
        'ibca_lightning.heads.IBCAHead'
    """

    def __init__(
        self,
        num_labels: int,
        class_names: list[str],
        image_size: int = 384,
        backbone: str = "resnet50",
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        feature_stride: int | list[int] = 32,
        freeze_backbone: bool = False,
        normalise_features: bool = False,
        head: Callable[[int, int], Head] = IBCAHead,
        loss: Loss | None = None,
        terms: list[Term] | None = None,
        optimizer: Callable[[Iterable[Any]], Optimizer] = lambda p: torch.optim.AdamW(p, lr=3e-4, weight_decay=0.05),
        learning_rate: float | None = None,
        scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
        backbone_lr_scale: float = 1.0,
        warmup_fraction: float = 0.05,
        ema_decay: float | None = None,
        early_stopping_patience: int | None = None,
        init_from: str | None = None,
        preprocessing: dict[str, str] | None = None,
        thresholds: ThresholdRule = "f1",
        calibration: Calibration = "none",
        channels_last: bool = True,
        compile: Compiled = "none",  # noqa: A002 - torch's name
        compile_backend: str = "inductor",
        in_channels: int | None = None,
        normalisation: Normalisation = "auto",
        unfreeze_at_epoch: int | None = None,
        layer_decay: float | None = None,
        lora_rank: int | None = None,
        feature_blocks: int = 0,
    ) -> None:
        require_class_names(class_names, num_labels)
        require_options(
            head, optimizer, learning_rate, warmup_fraction, backbone_lr_scale, ema_decay, early_stopping_patience,
            thresholds, calibration,
        )  # fmt: skip
        require_fine_tuning(
            freeze_backbone, layer_decay=layer_decay, unfreeze_at_epoch=unfreeze_at_epoch, lora_rank=lora_rank
        )
        read_as = with_channels(preprocessing, in_channels)
        of_images = Backbone(
            backbone,
            pretrained=pretrained and init_from is None,
            checkpoint_path=None if init_from else checkpoint_path,
            feature_stride=feature_stride,
            freeze=freeze_backbone,
            image_size=image_size,
            in_channels=int(read_as.get("in_channels", 3)),
            normalisation=normalisation,
            feature_blocks=feature_blocks,
        )
        super().__init__(num_labels, of_images, head, normalise_features, channels_last)
        self.class_names = [str(name) for name in class_names]
        self.preprocessing = read_as
        self.image_size = int(image_size)
        self.feature_stride = feature_stride if isinstance(feature_stride, int) else list(feature_stride)
        self.feature_blocks = feature_blocks
        self.normalise_features = normalise_features
        self.loss: Loss = loss if loss is not None else MaskedBCE()
        self.terms = Terms(terms or [])
        self._stepped = 0  # steps of the optimiser that the terms have seen
        self._optimizer = None if optimizer is _DEFAULT_OPTIMIZER else optimizer  # a lambda, which is not pickled
        self._scheduler, self.learning_rate = scheduler, learning_rate
        self.backbone_lr_scale, self.warmup_fraction = backbone_lr_scale, warmup_fraction
        self.ema_decay, self.early_stopping_patience = ema_decay, early_stopping_patience
        self.threshold_rule: ThresholdRule = dict(thresholds) if isinstance(thresholds, dict) else thresholds
        self.calibration_kind: Calibration = calibration
        self.points = OperatingPoints([0.5] * num_labels)
        self.backbone_name = backbone
        self.evaluations: dict[str, Evaluation] = {}
        self._gathered: dict[str, Gathered] = {}
        self._seed: int | None = None
        self._epoch_sums = EpochSums()
        self._ids: list[str] = []  # of the pictures since the last step
        self._watch = divergence.Watch()
        self._new_score = NewScore()
        if init_from is not None:
            source = initialise_from(self, read_checkpoint(init_from), init_from)
            if normalisation == "auto":
                self.set_normalisation(source.mean, source.std)
        self.lora_rank = lora_rank
        if lora_rank is not None:
            adapt(self.backbone, backbone, lora_rank)
        named = {} if layer_decay is None else layer_scales(self.backbone.model, backbone, layer_decay)
        self._scales = {f"model.{name}": scale for name, scale in named.items()}
        self.unfreezing = Unfreezing(self.backbone, unfreeze_at_epoch)
        self.compile_parts(compile, compile_backend)
        self._compiled_by = "none" if compile in (False, "none") else compile_backend

    def setup(self, stage: str) -> None:
        """Show the labels of the training split to loss (in validation too), head and terms, where they want them."""
        self._seed = None
        read = getattr(getattr(self.trainer, "datamodule", None), "preprocessing", {})
        if stage == "fit" and "bit_depth" in read:  # found when the data were set up, behind the model
            self.preprocessing["bit_depth"] = read["bit_depth"]
        labels = getattr(getattr(self.trainer, "datamodule", None), "training_labels", None)
        for part, stages in ((self.loss, ("fit", "validate")), (self.head, ("fit",))):
            if stage in stages and part.needs_labels and labels is not None:
                part.see_labels(torch.from_numpy(labels()).to(self.device))
        if stage == "fit":
            self.unfreezing.begin(self.trainer)
            self.terms.begin(self._setting())
            if isinstance(self.head, PairHead) and "pair" not in self.preprocessing:
                what = "the head `pair` takes the halves of each picture for two pictures side by side"
                rank_zero_warn(f"{what}, and the data do not join any (data.join_images)", category=DataWarning)

    def _setting(self) -> Setting:
        """What terms are told of the training split, as far as the data say."""
        data = getattr(self.trainer, "datamodule", None)
        labels = getattr(data, "training_labels", None)
        setting = Setting(self.class_names, load=self._teacher, channels=self.backbone.channels)
        if not self.terms or labels is None:
            return setting
        setting = setting._replace(labels=torch.from_numpy(labels()))
        if not isinstance(data, MultiLabelDataModule) or not (files := data.split_files()):
            return setting
        return setting._replace(**training_rows(files, data.rename)._asdict())

    def _teacher(self, path: str) -> NetworkTeacher:
        """Open a checkpoint as a teacher, which must fit stored maps as the model must; its run says its pictures."""
        teacher = NetworkTeacher(path)
        spec = teacher.spec
        self._check_maps_of(spec.backbone, spec.feature_stride, spec.feature_blocks, teacher.network.backbone)
        teacher.trained_on = trained_on(Path(expanded(path)).resolve().parent.parent / "splits.csv")
        return teacher

    def _outputs(self, batch: Batch, labels: Tensor | None = None) -> HeadOutput:
        """Classify a batch of pictures, or of the maps that `stages` would return for them."""
        return self.classify(self._stages(batch), labels)

    def _again(self, batch: Batch) -> Step:
        """What terms see of another batch."""
        features = self.features(self._stages(batch))
        output = require_output(self.head, self.head(features))
        return Step(batch, batch["label"], output, features, self, self._again)

    def _stages(self, batch: Batch) -> list[Tensor]:
        if "features" not in batch:
            return self.stages(batch["image"])
        if not self.backbone.frozen or self.unfreezing.at is not None:
            raise InputError(
                "model.freeze_backbone true, as the data are stored maps that no gradient passes",
                "false" if self.unfreezing.at is None else f"unfreeze_at_epoch {self.unfreezing.at}",
                "freeze it, or train on pictures",
            )  # fmt: skip
        return self.stored(batch["features"])

    # --- training ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; stops on a loss that is not finite, before it can reach a checkpoint."""
        # 0 at the first step and 1 at the last, so that what is validated and saved stands at the schedule's end. The
        # length is infinite for runs bounded by time alone: the schedule then stays at its start.
        require_batch(batch)
        progress = self._progress
        self.head.set_progress(progress)
        labels = self.terms.labels(batch, progress)
        self._ids += batch["id"]
        before = self.features(self._stages(batch))
        features = self.terms.features(batch, before)
        output = require_output(self.head, self.head(features, labels))
        parts = {"classification": require_scalar(self.loss, self.loss(output.logits, labels))}
        parts |= {name if name not in parts else f"head_{name}": part for name, part in output.losses.items()}
        parts |= self.terms.losses(Step(batch, labels, output, features, self, self._again, before))
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        place, found = self._place, {name: part.detach() for name, part in parts.items()}
        kind = self.device.type
        cast = torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind))

        def fault() -> NonFiniteError:
            values = ", ".join(f"{name} {part.item():g}" for name, part in found.items())
            self.head.set_progress(progress)
            with cast:  # it may be asked for behind the step
                where = divergence.first_non_finite_layer(self, lambda: self._outputs(batch, labels))
            return divergence.diverged(f"a finite training loss, got {values} {where},", place, batch["id"])

        self._watch.take(torch.isfinite(loss.detach()), fault)
        self._log_step(loss.detach())
        for name, part in {"loss_epoch": loss, **parts}.items():
            self._log_loss(f"train/{name}", part, len(labels))
        return loss

    def _log_step(self, loss: Tensor) -> None:
        """Log the loss of a step, of all processes where it is written down: to ask them in each would hold them up."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # of its logger connector
        if every and (self.trainer.global_step + 1) % every == 0:
            loss = self.trainer.strategy.reduce(loss.clone(), reduce_op="mean")  # in place, where there are others
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)

    def _log_loss(self, name: str, value: Tensor, samples: int) -> None:
        """Log a mean over the samples of an epoch, also where it was begun by a run that this one takes up."""
        record = partial(self.log, on_step=False, on_epoch=True, sync_dist=True)
        earlier = self._epoch_sums.add(name, value, samples)
        if earlier is not None:
            record(name, earlier.mean.to(value.device), batch_size=earlier.samples)
        record(name, value, batch_size=samples)

    def on_after_backward(self) -> None:
        """With float16's scaling, make gradients those of all processes before each looks for what is not finite."""
        if self._scaled:
            self._average_gradients()

    def _average_gradients(self) -> None:
        self.terms.average_gradients()
        self.unfreezing.average_gradients()

    @property
    def _scaled(self) -> bool:
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stop on a gradient that is not finite, before it can spoil the weights; float16's own scaling skips it."""
        ids, self._ids = self._ids, []
        if self._scaled:
            return
        self._average_gradients()
        place, (names, peaks) = self._place, divergence.gradient_peaks(self.named_parameters())

        def fault() -> NonFiniteError:
            name = names[peaks.isfinite().tolist().index(False)]
            return divergence.diverged(f"finite gradients, got NaN or infinity in that of {name}", place, ids)

        self._watch.take(peaks.isfinite().all(), fault)
        self._watch.stop(optimizer)

    def on_fit_start(self) -> None:
        """Find out now, and not at the first checkpoint, whether the model can be described in plain data."""
        require_validation(self.trainer)
        require_fitting_callbacks(self.trainer)
        self._check_own_maps()
        _ = self.spec
        if self._seed is None:
            self._seed = int(self.trainer.strategy.broadcast(torch.initial_seed()))

    def _check_own_maps(self) -> None:
        """Show stored maps the backbone, which may be another one; not in `setup`: a checkpoint comes after it."""
        self._check_maps_of(self.backbone_name, self.feature_stride, self.feature_blocks, self.backbone)

    def _check_maps_of(self, name: str, feature_stride: int | list[int], blocks: int, backbone: Backbone) -> None:
        require = getattr(getattr(self.trainer, "datamodule", None), "require_backbone", None)
        if require is not None:
            require(name, feature_stride, backbone.fingerprint(), (list(backbone.mean), list(backbone.std)), blocks)

    on_test_start = on_predict_start = _check_own_maps

    def on_validation_start(self) -> None:
        """Check stored maps, if nobody has; before a validation, that training is finite."""
        self._watch.look()
        if not self._fitting:
            self._check_own_maps()

    def on_train_start(self) -> None:
        """See how steps are watched, and go on at the place of the epoch where a checkpoint was saved.

        Lightning does so when it makes the loader, which `configure_optimizers` has asked the length of before the
        checkpoint's loops were restored. And at the end of such an epoch it would leave a plateau scheduler as it is.
        """
        self._watch = divergence.Watch()
        skipped = self._scaled or all(map(is_fused, self.trainer.optimizers))  # a step that was not finite
        self._watch.at_once = self.device.type == "cpu" or not skipped
        self.trainer.fit_loop._load_combined_loader_states()
        self.trainer.fit_loop._restarting = False
        self._new_score.show(self.trainer)
        self.unfreezing.when_due(self.current_epoch, self.training)

    def on_train_epoch_start(self) -> None:
        """Begin the means of an epoch; one that is taken up in its middle does not come here."""
        self.unfreezing.when_due(self.current_epoch, self.training)
        self._epoch_sums.clear()
        self.terms.begin_epoch(self._progress)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what a step draws by its place, so that a run that is taken up draws what it would have drawn."""
        require_whole_steps(self._compiled_by, self.trainer.accumulate_grad_batches)  # it may change with the epoch
        place = (self._seed or 0, self.global_rank, self.current_epoch, batch_idx)
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        if self.device.type == "cpu":  # torch's function has each kind of device in mind, which takes 0.4 ms
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Show the terms a step of the optimiser; gradients may be accumulated over several batches."""
        self._watch.look(older=True)
        if self.global_step > self._stepped:
            self._stepped = self.global_step
            self.terms.after_step(self)

    def on_validation_end(self) -> None:
        """Note the figure that a scheduler of plateaus waits for."""
        if self._fitting and not self.trainer.sanity_checking:
            self._new_score.see(self.trainer)

    def lr_scheduler_step(self, scheduler: LRScheduler | ReduceLROnPlateau, metric: Any | None) -> None:
        """Step; one that watches the validation once for each of them."""
        require_own_groups(scheduler)
        (config,) = (each for each in self.trainer.lr_scheduler_configs if each.scheduler is scheduler)
        if not (config.reduce_on_plateau and of_validation(config.monitor)) or self._new_score.take():
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Stop on what was not finite, before the epoch counts."""
        self._watch.look()

    @property
    def _place(self) -> tuple[int, int]:
        return self.trainer.current_epoch, self.trainer.global_step

    @property
    def _progress(self) -> float:
        return self.global_step / max(self._total_steps - 1, 1)

    @property
    def _total_steps(self) -> float:
        """Optimiser steps of the whole run; infinity where neither epochs nor steps bound it."""
        total = self.trainer.estimated_stepping_batches
        return total if total > 0 else math.inf  # -1: a stream of unknown length

    def configure_optimizers(self) -> Any:
        """AdamW over parameter groups (no decay on vectors), the backbone's rate scaled, warm-up + cosine."""
        self.terms.to(self.device)
        others = (self.head, self.loss, *self.terms.modules())
        with self.unfreezing.everything_that_learns():
            groups = parameter_groups(self.backbone, *others, scales=self._scales)
        optimizer = (self._optimizer or _DEFAULT_OPTIMIZER)(groups)
        optimizer.register_state_dict_post_hook(say_kind)
        optimizer.register_load_state_dict_pre_hook(require_same_groups)
        set_rates(optimizer, self.learning_rate, self.backbone_lr_scale)
        # Lightning could not clip what is scaled; of FSDP's views of a shard torch's one kernel wants another layout.
        if not self._scaled and not isinstance(self.trainer.strategy, FSDPStrategy):
            fuse(optimizer)
        if self._scheduler is not None:
            return [optimizer], [by_epoch(self._scheduler(optimizer), score=MONITOR, loss="val/loss")]
        total = self._total_steps
        if math.isinf(total):  # there is no end to decay to
            return optimizer
        default = warmup_cosine(optimizer, int(total), round(total * self.warmup_fraction))
        return [optimizer], [{"scheduler": default, "interval": "step"}]

    def configure_callbacks(self) -> list[Callback]:
        """EMA and early stopping are part of the recipe, so they work from a notebook too."""
        callbacks: list[Callback] = []
        if self._fitting and self.ema_decay is not None:
            callbacks.append(AveragedWeights(self.ema_decay))
        if self._fitting and self.early_stopping_patience is not None:
            callbacks.append(RunEarlyStopping(MONITOR, self.early_stopping_patience))
        return callbacks

    # --- evaluation -------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Gather one batch for the figures; returns what the picture callback draws."""
        return self._gather(f"val:{dataloader_idx}", batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Gather one batch for the figures; returns what the picture callback draws."""
        return self._gather(f"test:{dataloader_idx}", batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Ids and probabilities (B, L)."""
        return {"id": list(batch["id"]), "probabilities": self._probabilities(self._outputs(batch))}

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._gathered.clear()

    def on_test_epoch_start(self) -> None:
        """Forget earlier tests."""
        self._gathered.clear()
        self.evaluations = {name: evaluation for name, evaluation in self.evaluations.items() if name == "val"}

    def on_validation_epoch_end(self) -> None:
        """Figures of the validation set; while training, the calibration and the thresholds that fit it best."""
        if self.trainer.sanity_checking:
            return
        evaluation = self._evaluate("val", "val:0")
        self._log_figures("val", evaluation)
        # Over the whole set at once, as the figures: no row counts twice that stands in for a bad picture or fills up
        # a process's share, and a batch with few known labels weighs no more than its labels.
        stored = self._gathered["val:0"].store.compute()  # kept by the store
        loss = self.loss(stored.logits.to(self.device), stored.labels.to(self.device))
        self.log("val/loss", loss, sync_dist=True)
        score = evaluation.figures["metrics"]["mAP"]
        if score is None:
            # No class has both a positive and a negative: the loss decides which checkpoint is best.
            score = -float(loss)
        self.log(MONITOR, score, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Figures of every test set."""
        names = getattr(getattr(self.trainer, "datamodule", None), "test_names", None) or ["test"]
        seen = training_labels(getattr(self.trainer, "datamodule", None), len(self.class_names))
        for key in self._gathered:  # in the order of the loaders
            index = int(key.removeprefix("test:"))
            name = names[index] if index < len(names) else f"test{index}"
            evaluation = self._evaluate(name, key, intervals=True, seen=seen)
            self._log_figures("test" if len(names) == 1 else f"test_{name}", evaluation)

    def on_fit_end(self) -> None:
        """Say which thresholds rest on next to nothing."""
        rare = few_positives(self.class_names, self.points.positives)
        if rare is not None and self.trainer.is_global_zero:
            log.warning(rare)

    @property
    def thresholds(self) -> list[float]:
        """One a class, for calibrated probabilities."""
        return self.points.thresholds

    @thresholds.setter
    def thresholds(self, values: Sequence[float]) -> None:
        self.points = replace(self.points, thresholds=list(values))

    def _probabilities(self, output: HeadOutput) -> Tensor:
        """Calibrated, but not while fitting: the calibration is about to be fitted to these very data."""
        return calibrated(output.logits, None if self._fitting else self.points.calibration)

    @property
    def _fitting(self) -> bool:
        """False without a trainer too: `trainer.strategy.connect(module)` is enough to save one."""
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    def _gather(self, key: str, batch: Batch) -> dict[str, Tensor]:
        require_batch(batch)
        output = self._outputs(batch)
        # The pixel figures of the contribution take milliseconds a pair: not while fitting.
        self._gathered.setdefault(key, Gathered()).update(batch, output, contribution=not self._fitting)
        return {"probabilities": self._probabilities(output), "attention": output.attention}

    def _evaluate(
        self, name: str, key: str, intervals: bool = False, seen: NDArray[np.int8] | None = None
    ) -> Evaluation:
        gathered = self._gathered[key]
        stored = gathered.store.compute()
        facts = gathered.facts.gathered(self.trainer.world_size)
        points = None if self._fitting else self.points  # they are about to be chosen on these very data
        groups = getattr(getattr(self.trainer, "datamodule", None), "exclusive_classes", ())
        evaluation = evaluate(
            name, stored, facts, self.class_names, points, intervals=intervals, seen=seen, exclusive=groups
        )
        self.evaluations[name] = evaluation
        if self._fitting:
            self.points = choose_points(stored.logits, stored.labels, self.calibration_kind, self.threshold_rule)
        return evaluation

    def _log_figures(self, prefix: str, evaluation: Evaluation) -> None:
        for name, value in logged_figures(prefix, evaluation):
            # Every process holds the same gathered figures; without sync_dist Lightning warns of each of them.
            self.log(name, value, prog_bar=name == "val/mAP", sync_dist=True)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> ModelSpec:
        """All that is needed to build this model again, as plain data."""
        return ModelSpec(
            backbone=self.backbone_name,
            feature_stride=self.feature_stride,
            feature_blocks=self.feature_blocks,
            normalise_features=self.normalise_features,
            image_size=self.image_size,
            mean=list(self.backbone.mean),
            std=list(self.backbone.std),
            head=head_spec(self.head),
            class_names=self.class_names,
            thresholds=list(self.points.thresholds),
            calibration=self.points.calibration,
            threshold_rule=self.threshold_rule,
            threshold_positives=list(self.points.positives),
            preprocessing=self.preprocessing,
        )

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: str | torch.device | None = None, **options: Any
    ) -> Self:
        """Build the module that a checkpoint describes, with its weights, calibration and thresholds.

        Args:
            checkpoint_path: A `.ckpt` file written by `ibca fit`.
            map_location: Where the module is to be; default the CPU.
            **options: Of the module, for what a checkpoint does not hold: loss, optimiser, learning rate. Lightning's
                `hparams_file`, `strict` and `weights_only` change nothing: all that is needed is in the checkpoint,
                every weight must fit, and no file runs code.

        Raises:
            InputError: When the file is missing or no IBCA checkpoint, or does not fit the options.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        spec = ModelSpec.from_checkpoint(checkpoint, checkpoint_path)
        for needless in ("hparams_file", "strict", "weights_only"):
            options.pop(needless, None)
        require_fitting_backbone(spec, checkpoint, checkpoint_path)
        fitting = {"head": partial(fitting_head, spec, checkpoint, checkpoint_path)}
        module = cls(**(spec.module_options() | fitting | options))
        module.take_weights(checkpoint, checkpoint_path)
        module.points = spec.points
        return module.to(map_location or "cpu")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that predict needs, as plain data; never save what has diverged, whether it was validated or not."""
        self._watch.look()
        name = divergence.first_non_finite_weight(
            checkpoint["state_dict"], {name for name, _ in self.named_parameters()}
        )
        if name is not None:
            raise divergence.diverged(f"finite weights, got NaN or infinity in {name}", self._place)
        checkpoint[CHECKPOINT_KEY] = self.spec.as_dict()
        if self._fitting and self.trainer.validating:  # the best is saved before a module hears of the validation's end
            self._new_score.see(self.trainer)
        sums, score = self._epoch_sums.state_dict(), self._new_score.value
        checkpoint[_TRAINING_KEY] = {"seed": self._seed, "sums": sums, "score": score}
        checkpoint[_TERMS_KEY] = self.terms.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model; take over its normalisation, calibration and thresholds.

        Pictures may be read in another way on purpose; that is said.
        """
        spec = ModelSpec.from_checkpoint(checkpoint)
        require_same_model(spec, self.spec)
        if self.lora_rank is None:
            checkpoint["state_dict"] = merged(checkpoint["state_dict"])
        require_fitting_weights(checkpoint, self)
        if spec.preprocessing != self.preprocessing:
            log.warning("the model was trained with %s, the data have %s", spec.preprocessing, self.preprocessing)
        if (spec.mean, spec.std) != (self.spec.mean, self.spec.std):
            log.warning("pictures are normalised as the checkpoint's were, mean %s, std %s", spec.mean, spec.std)
            self.set_normalisation(spec.mean, spec.std)
        self.points = spec.points
        training = checkpoint.get(_TRAINING_KEY)
        if training is not None and self._fitting:
            self._seed = training["seed"]
            self._new_score.value = training.get("score")
            self._epoch_sums.load_state_dict(training["sums"], self.trainer.world_size, self.global_rank)
        if self._fitting:
            self.terms.restore(checkpoint.get(_TERMS_KEY, {}))
            self._stepped = int(checkpoint["global_step"])


_DEFAULT_OPTIMIZER = signature(MultiLabelModule).parameters["optimizer"].default
