"""The one LightningModule: any backbone, any head, any loss; the figures of the contract at validation and test."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ibca_lightning.heads import Head, HeadOutput, IBCAHead
from ibca_lightning.heads.map_norm import MapBatchNorm
from ibca_lightning.losses import Loss, MaskedBCE
from ibca_lightning.metrics.calibration import Calibration, calibrated, fit_calibration
from ibca_lightning.metrics.columns import prediction_columns
from ibca_lightning.metrics.decision import OperatingPoints, few_positives
from ibca_lightning.metrics.evaluation import Evaluation, SampleFacts, evaluate
from ibca_lightning.metrics.localisation import output_figures
from ibca_lightning.metrics.store import EvaluationStore, Stored
from ibca_lightning.metrics.thresholds import ThresholdRule, choose_thresholds, require_rule
from ibca_lightning.model.averaging import AveragedWeights
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.checkpoint import (
    CHECKPOINT_KEY,
    ModelSpec,
    head_spec,
    initialise_from,
    read_checkpoint,
    require_fitting_weights,
    require_same_model,
)
from ibca_lightning.model.compilation import require_backend
from ibca_lightning.model.divergence import (
    first_non_finite_gradient,
    first_non_finite_layer,
    first_non_finite_weight,
    listed,
)
from ibca_lightning.model.early_stopping import RunEarlyStopping
from ibca_lightning.model.epoch_sums import EpochSums
from ibca_lightning.model.optimisation import parameter_groups, warmup_cosine
from ibca_lightning.system.errors import InputError, NonFiniteError

log = logging.getLogger(__name__)
Batch = Mapping[str, Any]
MONITOR = "val/monitor"
_TRAINING_KEY = "ibca_training"  # what a checkpoint holds to go on from


@dataclass
class _Gathered:
    """What one evaluation set has shown so far, on this process."""

    store: EvaluationStore = field(default_factory=EvaluationStore)
    facts: SampleFacts = field(default_factory=SampleFacts)


class MultiLabelModule(pl.LightningModule):
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
        normalise_features: Bring every channel of the feature map to mean 0 and deviation 1 (BatchNorm without
            parameters) before the head. Meant for frozen backbones, whose channels differ in scale by orders of
            magnitude and cannot adapt: every head learns faster and better then.
        head: Called with (channels, num_labels); in YAML a class path and its options.
        loss: Classification loss on (logits, labels); default `MaskedBCE`.
        optimizer: Called with parameter groups.
        learning_rate: The optimiser's rate, above 0, in place of its own; None keeps that.
        scheduler: Called with the optimiser and stepped once an epoch; default is warm-up + cosine, stepped each batch.
            A ReduceLROnPlateau of mode max watches the validation mAP, one of mode min the validation loss.
        backbone_lr_scale: The backbone's learning rate as a multiple of the head's.
        warmup_fraction: Share of all steps, in [0, 1), that the default schedule warms up over.
        ema_decay: Keep an exponential moving average of the weights with this decay, in (0, 1); validation, test and
            checkpoints then use the average. None switches it off.
        early_stopping_patience: Stop after this many validations without a better mAP. None switches it off.
        init_from: An IBCA checkpoint to start from; its labels may differ, classes are matched by name.
        preprocessing: Plain data from the data module that `predict` needs to read a picture as training did, such as
            `{"resize": "pad"}`; `load` refuses a checkpoint without it.
        thresholds: How each class's threshold is chosen on the validation set, and stored: `f1` for the best F1,
            `{sensitivity: 0.9}` or `{precision: 0.8}` for at least so much, `fixed` for 0.5.
        calibration: What is fitted to the validation logits and stored: `temperature`, one scale for all classes, or
            `platt`, a scale and an offset a class. Test, predict and export then give calibrated probabilities, to
            which the thresholds and every figure belong. While fitting, the figures are of the plain sigmoid.
        channels_last: Keep the backbone's weights and maps in NHWC order, which convolutions run faster in on most
            devices, above all in bf16.
        compile: `torch.compile` backbone and head, each by itself; the first steps then take minutes. Weights keep
            their names, so a checkpoint of a compiled model is one like any other.
        compile_backend: Of `torch.compile`. `inductor` is fast and needs a C++ compiler; it draws other random numbers
            than eager does, so that a head which draws or drops takes other, equally good steps.

    Raises:
        InputError: When a value is out of its range, or a file does not fit.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from ibca_lightning import MultiLabelModule
        >>> from ibca_lightning.heads import CSRAHead
        >>> module = MultiLabelModule(
        ...     2, ["drusen", "scar"], image_size=64, backbone="test_resnet", pretrained=False, feature_stride=16,
        ...     head=partial(CSRAHead, temperature=2.0),
        ... ).eval()
        >>> output = module(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))
        >>> output.logits.shape, output.attention.shape  # 64 / 16 = 4 cells a side
        (torch.Size([3, 2]), torch.Size([3, 2, 4, 4]))
        >>> module.spec.head["init_args"]["temperature"]  # what a checkpoint will hold
        2.0
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
        compile: bool = False,  # noqa: A002 - torch's name
        compile_backend: str = "inductor",
    ) -> None:
        super().__init__()
        _require(len(class_names) == num_labels, f"{num_labels} class names", class_names, "name every label once")
        _require(len(set(class_names)) == num_labels, "class names that differ", class_names, "rename one of them")
        twice = [name for name, number in Counter(prediction_columns(class_names)).items() if number > 1]
        _require(
            not twice, "class names beside which no other column of predictions.csv is called the same", twice[:1],
            "rename that class",
        )  # fmt: skip
        _require(callable(head), "model.head as a class of heads", head, "name one, such as IBCAHead, or leave it out")
        _require(callable(optimizer), "model.optimizer as a class", optimizer, "name one, such as torch.optim.AdamW")
        _require(
            learning_rate is None or learning_rate > 0, "model.learning_rate above 0", learning_rate, "or leave it out"
        )
        _require(0 <= warmup_fraction < 1, "model.warmup_fraction in [0, 1)", warmup_fraction, "try 0.05")
        _require(
            backbone_lr_scale > 0, "model.backbone_lr_scale above 0", backbone_lr_scale, "or freeze_backbone: true"
        )
        _require(ema_decay is None or 0 < ema_decay < 1, "model.ema_decay in (0, 1)", ema_decay, "try 0.999, or null")
        _require(
            early_stopping_patience is None or early_stopping_patience >= 1,
            "model.early_stopping_patience of at least 1", early_stopping_patience, "try 10, or null",
        )  # fmt: skip
        require_rule(thresholds)
        _require(
            calibration in get_args(Calibration),
            "model.calibration none, temperature or platt",
            calibration,
            "choose one",
        )
        self.class_names, self.preprocessing = [str(name) for name in class_names], dict(preprocessing or {})
        self.image_size = int(image_size)
        self.feature_stride = feature_stride if isinstance(feature_stride, int) else list(feature_stride)
        self.backbone = Backbone(
            backbone,
            pretrained=pretrained and init_from is None,
            checkpoint_path=None if init_from else checkpoint_path,
            feature_stride=feature_stride,
            freeze=freeze_backbone,
            image_size=image_size,
        )
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self._memory_format)
        self.normalise_features = normalise_features
        channels = self.backbone.channels
        self.feature_norm = MapBatchNorm(channels, affine=False) if normalise_features else nn.Identity()
        self.head = head(channels, num_labels)
        self.loss: Loss = loss if loss is not None else MaskedBCE()
        self.register_buffer("_mean", torch.empty(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.empty(1, 3, 1, 1), persistent=False)
        self._mean: Tensor
        self._std: Tensor
        self.set_normalisation(self.backbone.mean, self.backbone.std)
        self._optimizer, self._scheduler, self.learning_rate = optimizer, scheduler, learning_rate
        self.backbone_lr_scale, self.warmup_fraction = backbone_lr_scale, warmup_fraction
        self.ema_decay, self.early_stopping_patience = ema_decay, early_stopping_patience
        self.threshold_rule: ThresholdRule = dict(thresholds) if isinstance(thresholds, dict) else thresholds
        self.calibration_kind: Calibration = calibration
        self.points = OperatingPoints([0.5] * num_labels)
        self.backbone_name = backbone
        self.evaluations: dict[str, Evaluation] = {}
        self._gathered: dict[str, _Gathered] = {}
        self._seed: int | None = None
        self._epoch_sums = EpochSums()
        self._ids: list[str] = []  # of the pictures since the last step
        if init_from is not None:
            initialise_from(self, read_checkpoint(init_from), init_from)
        self._compiled_stages: Callable[[Tensor], list[Tensor]] | None = None
        if compile:
            require_backend(compile_backend)
            self.head.compile(backend=compile_backend)
            self._compiled_stages = torch.compile(self.backbone.stages, backend=compile_backend)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is not compiled, as torch has it for every module: it would run the original's layers."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_compiled_stages": None}

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise with these means and standard deviations per channel, on a scale of [0, 1]."""
        self._mean.copy_(torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self._std.copy_(torch.tensor(std).view(1, 3, 1, 1) * 255)

    @property
    def spec(self) -> ModelSpec:
        """All that is needed to build this model again, as plain data."""
        return ModelSpec(
            backbone=self.backbone_name,
            feature_stride=self.feature_stride,
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

    def setup(self, stage: str) -> None:
        """Show the loss the labels of the training split, where it wants them; validation takes the same loss."""
        self._seed = None
        if stage in ("fit", "validate") and self.loss.needs_labels:
            labels = getattr(getattr(self.trainer, "datamodule", None), "training_labels", None)
            if labels is not None:
                self.loss.see_labels(torch.from_numpy(labels()).to(self.device))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """Classify pictures.

        Args:
            images: (B, 3, S, S) uint8, 0-255, or float on the same scale.
            labels: (B, L) in {0, 1, -1}; in training only, for the head's own losses.

        Returns:
            Logits (B, L), attention (B, L, H, W) and the head's weighted losses.
        """
        return self._classify(self.stages(images), labels)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's maps of pictures, each at its own resolution: what `ibca maps` stores.

        Args:
            images: (B, 3, S, S) uint8, 0-255, or float on the same scale.

        Returns:
            One (B, C_i, H_i, W_i) for each stride, finest first.
        """
        normalised = ((images - self._mean) / self._std).contiguous(memory_format=self._memory_format)
        return (self._compiled_stages or self.backbone.stages)(normalised)

    def _outputs(self, batch: Batch, labels: Tensor | None = None) -> HeadOutput:
        """Classify a batch of pictures, or of the maps that `stages` would return for them."""
        if "features" not in batch:
            output: HeadOutput = self(batch["image"], labels)
            return output
        if not self.backbone.frozen:
            raise InputError(
                "model.freeze_backbone true, as the data are stored maps that no gradient passes", "false",
                "freeze it, or train on pictures",
            )  # fmt: skip
        device = self._mean.device.type
        # Stored as float16. The head is to see the type that the backbone would give it here.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self._mean.dtype
        return self._classify([stage.to(dtype) for stage in batch["features"]], labels)

    def _classify(self, stages: Sequence[Tensor], labels: Tensor | None) -> HeadOutput:
        output: HeadOutput = self.head(self.feature_norm(self.backbone.combine(stages)), labels)
        return output

    # --- training ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; stops on a loss that is not finite, before it can reach a checkpoint."""
        # 0 at the first step and 1 at the last, so that what is validated and saved stands at the schedule's end. The
        # length is infinite for runs bounded by time alone: the schedule then stays at its start.
        self.head.set_progress(self.global_step / max(self._total_steps - 1, 1))
        labels: Tensor = batch["label"]
        self._ids += batch["id"]
        output = self._training_outputs(batch, labels)
        parts = {"classification": self.loss(output.logits, labels)}
        parts |= {name if name not in parts else f"head_{name}": part for name, part in output.losses.items()}
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {part.item():g}" for name, part in parts.items())
            where = first_non_finite_layer(self, lambda: self._outputs(batch, labels))
            raise self._diverged(f"a finite training loss, got {values} {where},", batch["id"])
        self._log_loss("train/loss", loss, len(labels), on_step=True)
        for name, part in parts.items():
            self._log_loss(f"train/{name}", part, len(labels))
        return loss

    def _log_loss(self, name: str, value: Tensor, samples: int, on_step: bool = False) -> None:
        """Log a mean over the samples of an epoch, also where it was begun by a run that this one takes up."""
        record = partial(self.log, prog_bar=on_step, on_step=on_step, on_epoch=True, sync_dist=True)
        earlier = self._epoch_sums.add(name, value, samples)
        if earlier is not None:
            record(name, earlier.mean.to(value.device), batch_size=earlier.samples)
        record(name, value, batch_size=samples)

    def _training_outputs(self, batch: Batch, labels: Tensor) -> HeadOutput:
        try:
            return self._outputs(batch, labels)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "more than one value a channel for the batch statistics (BatchNorm) of the backbone",
                f"a batch of {len(labels)} with a map of one cell",
                "raise data.batch_size or data.image_size, or give model.freeze_backbone true",
            ) from error

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stop on a gradient that is not finite, before it can spoil the weights; float16's own scaling skips it."""
        ids, self._ids = self._ids, []
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return
        name = first_non_finite_gradient(self.named_parameters())
        if name is not None:
            raise self._diverged(f"finite gradients, got NaN or infinity in that of {name}", ids)

    def _diverged(self, what: str, ids: Sequence[str] = ()) -> NonFiniteError:
        pictures = f" (pictures {listed(ids)})" if ids else ""
        return NonFiniteError(
            f"{what} at epoch {self.current_epoch}, step {self.global_step}{pictures}; lower the learning rate, or use "
            "full precision"
        )

    def on_fit_start(self) -> None:
        """Find out now, and not at the first checkpoint, whether the model can be described in plain data."""
        _ = self.spec
        self._check_maps()
        if self._seed is None:
            self._seed = int(self.trainer.strategy.broadcast(torch.initial_seed()))

    def on_train_start(self) -> None:
        """Go on at the place of the epoch where a checkpoint was saved.

        Lightning does so when it makes the loader, which `configure_optimizers` has asked the length of before the
        checkpoint's loops were restored. And at the end of such an epoch it would leave a plateau scheduler as it is.
        """
        self.trainer.fit_loop._load_combined_loader_states()
        self.trainer.fit_loop._restarting = False

    def on_train_epoch_start(self) -> None:
        """Begin the means of an epoch; one that is taken up in its middle does not come here."""
        self._epoch_sums.clear()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what a step draws by its place, so that a run that is taken up draws what it would have drawn."""
        place = (self._seed or 0, self.global_rank, self.current_epoch, batch_idx)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def _check_maps(self) -> None:
        """Refuse maps of another backbone. Not in `setup`: a checkpoint brings its weights after that."""
        require = getattr(getattr(self.trainer, "datamodule", None), "require_backbone", None)
        if require is not None:
            require(self.backbone_name, self.feature_stride, self.backbone.fingerprint())

    @property
    def _total_steps(self) -> float:
        """Optimiser steps of the whole run; infinity where neither epochs nor steps bound it."""
        total = self.trainer.estimated_stepping_batches
        return total if total > 0 else math.inf  # -1: a stream of unknown length

    def configure_optimizers(self) -> Any:
        """AdamW over parameter groups (no decay on vectors), the backbone's rate scaled, warm-up + cosine."""
        optimizer = self._optimizer(parameter_groups(self.backbone, self.head, self.loss))
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate or group["lr"]
            if group.get("part") == "backbone":
                group["lr"] *= self.backbone_lr_scale
        if self._scheduler is None:
            total = self._total_steps
            if math.isinf(total):  # there is no end to decay to
                return optimizer
            default = warmup_cosine(optimizer, int(total), round(total * self.warmup_fraction))
            return [optimizer], [{"scheduler": default, "interval": "step"}]
        scheduler = self._scheduler(optimizer)
        monitor = getattr(scheduler, "monitor", None)  # Lightning's own ReduceLROnPlateau names what it watches
        if monitor is None:
            monitor = "val/loss" if getattr(scheduler, "mode", "max") == "min" else MONITOR
        return [optimizer], [{"scheduler": scheduler, "interval": "epoch", "monitor": monitor}]

    def configure_callbacks(self) -> list[Callback]:
        """EMA and early stopping are part of the recipe, so they work from a notebook too."""
        callbacks: list[Callback] = []
        if not self._fitting:
            return callbacks
        if self.ema_decay is not None:
            callbacks.append(AveragedWeights(self.ema_decay))
        if self.early_stopping_patience is not None:
            callbacks.append(RunEarlyStopping(MONITOR, self.early_stopping_patience))
        return callbacks

    # --- evaluation -------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Gather one batch for the figures; returns what the picture callback draws."""
        output = self._gather(f"val:{dataloader_idx}", batch)
        return {"probabilities": self._probabilities(output), "attention": output.attention}

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Gather one batch for the figures; returns what the picture callback draws."""
        output = self._gather(f"test:{dataloader_idx}", batch)
        return {"probabilities": self._probabilities(output), "attention": output.attention}

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Ids and probabilities (B, L)."""
        return {"id": list(batch["id"]), "probabilities": self._probabilities(self._outputs(batch))}

    def on_validation_start(self) -> None:
        """Check stored maps, if nobody has."""
        if not self._fitting:
            self._check_maps()

    def on_test_start(self) -> None:
        """Check stored maps."""
        self._check_maps()

    def on_predict_start(self) -> None:
        """Check stored maps."""
        self._check_maps()

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
        stored = self._gathered["val:0"].store.compute()  # kept by torchmetrics
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
        for key in self._gathered:  # in the order of the loaders
            index = int(key.removeprefix("test:"))
            name = names[index] if index < len(names) else f"test{index}"
            evaluation = self._evaluate(name, key, intervals=True)
            self._log_figures("test" if len(names) == 1 else f"test_{name}", evaluation)

    def on_fit_end(self) -> None:
        """Say which thresholds rest on next to nothing."""
        rare = few_positives(self.class_names, self.points.positives) if self.points.positives else None
        if rare is not None and self.trainer.is_global_zero:
            log.warning(rare)

    @property
    def thresholds(self) -> list[float]:
        """One a class, for calibrated probabilities."""
        return self.points.thresholds

    @thresholds.setter
    def thresholds(self, values: Sequence[float]) -> None:
        self.points = replace(self.points, thresholds=list(values))

    def _choose_points(self, stored: Stored) -> None:
        """Calibration and thresholds from validation data, the same on every process."""
        calibration = fit_calibration(stored.logits, stored.labels, self.calibration_kind)
        thresholds = choose_thresholds(calibrated(stored.logits, calibration), stored.labels, self.threshold_rule)
        positives = [] if self.threshold_rule == "fixed" else (stored.labels == 1).sum(0).tolist()
        self.points = OperatingPoints(thresholds, calibration, positives)

    def _probabilities(self, output: HeadOutput) -> Tensor:
        """Calibrated, but not while fitting: the calibration is about to be fitted to these very data."""
        return calibrated(output.logits, None if self._fitting else self.points.calibration)

    @property
    def _fitting(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

    def _gather(self, key: str, batch: Batch) -> HeadOutput:
        output = self._outputs(batch)
        gathered = self._gathered.setdefault(key, _Gathered())
        labels, attention = batch["label"], output.attention.float()
        pairs: dict[str, Tensor] = {}
        if "mask" in batch:
            regions = {name: batch[f"{name}_mask"] for name in ("spurious", "noise") if f"{name}_mask" in batch}
            # The pixel figures take milliseconds a pair: while fitting, the attention's alone.
            contribution = None if self._fitting else output.contribution
            pairs = output_figures(attention, contribution, batch["mask"], labels, regions)
        gathered.store.update(batch["index"], output.logits, labels, pairs)
        gathered.facts.update(batch)
        return output

    def _evaluate(self, name: str, key: str, intervals: bool = False) -> Evaluation:
        gathered = self._gathered[key]
        stored = gathered.store.compute()
        facts = gathered.facts.gathered(self.trainer.world_size)
        points = None if self._fitting else self.points  # they are about to be chosen on these very data
        evaluation = evaluate(name, stored, facts, self.class_names, points, intervals=intervals)
        self.evaluations[name] = evaluation
        if self._fitting:
            self._choose_points(stored)
        return evaluation

    def _log_figures(self, prefix: str, evaluation: Evaluation) -> None:
        # Every process holds the same gathered figures; without sync_dist Lightning warns of each of them.
        record = partial(self.log, sync_dist=True)
        for name, value in evaluation.figures["metrics"].items():
            if value is not None:
                record(f"{prefix}/{name}", value, prog_bar=prefix == "val" and name == "mAP")
        for class_name, figures in evaluation.figures["per_class"].items():
            if figures.get("AP") is not None:
                record(f"{prefix}_AP/{class_name}", figures["AP"])
        for name, value in evaluation.figures["tuned"].items():
            if value is not None:
                record(f"{prefix}_tuned/{name}", value)
        for column, groups in evaluation.figures.get("subgroups", {}).items():
            for group, figures in groups.items():
                for name, value in figures["metrics"].items():
                    if value is not None:
                        record(f"{prefix}_{column}/{group}/{name}", value)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that predict needs, as plain data; never save what has diverged, whether it was validated or not."""
        name = first_non_finite_weight(checkpoint["state_dict"], {name for name, _ in self.named_parameters()})
        if name is not None:
            raise self._diverged(f"finite weights, got NaN or infinity in {name}")
        checkpoint[CHECKPOINT_KEY] = self.spec.as_dict()
        checkpoint[_TRAINING_KEY] = {"seed": self._seed, "sums": self._epoch_sums.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model; take over its calibration and thresholds.

        Pictures may be read in another way on purpose; that is said.
        """
        spec = ModelSpec.from_checkpoint(checkpoint)
        require_same_model(spec, self.spec)
        require_fitting_weights(checkpoint, self)
        if spec.preprocessing != self.preprocessing:
            log.warning("the model was trained with %s, the data have %s", spec.preprocessing, self.preprocessing)
        self.points = spec.points
        training = checkpoint.get(_TRAINING_KEY)
        if training is not None and self._fitting:
            self._seed = training["seed"]
            self._epoch_sums.load_state_dict(training["sums"], self.trainer.world_size)


def _require(condition: bool, expected: str, got: object, fix: str) -> None:
    if not condition:
        raise InputError(expected, got, fix)
