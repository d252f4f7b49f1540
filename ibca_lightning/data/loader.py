"""A DataLoader that lets the user's errors through.

Our own on purpose: that of torch wraps an error of a worker in a traceback, and cannot pass a broken picture over.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning.fabric.utilities.seed import pl_worker_init_function
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from ibca_lightning.data.sampling import Draw, EpochSampler
from ibca_lightning.data.worker import end_workers_at_exit, quiet_worker
from ibca_lightning.system.errors import InputError, PictureError

OnBadImage = Literal["error", "skip"]

_IN_A_ROW = 100  # so many bad pictures one after the other are no accident
_NAMED = 10  # pictures a report names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replaced:
    """An item or a batch in which other rows took the place of those whose pictures cannot be used, and why."""

    content: Any
    errors: tuple[PictureError, ...]


class Loader(DataLoader[Any]):
    """A DataLoader whose worker processes hand an InputError over as it is.

    torch would raise it again in the main process as a RuntimeError around a traceback, and the one line that says what
    is wrong with which row would be lost. Use it with `Guard` round the data set and `collate`. At the end of each
    epoch it reports the pictures that were left out.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its private iterator class
        bad: dict[str, PictureError] = {}
        try:
            for batch in super().__iter__():
                if isinstance(batch, InputError):
                    try:
                        raise batch
                    finally:
                        del batch  # else the error holds this frame and the frame the error, and with it the workers
                if isinstance(batch, Replaced):
                    bad.update((error.expected, error) for error in batch.errors)
                    yield batch.content
                else:
                    yield batch
        finally:  # also where the trainer stops before the last batch
            if bad:
                log.warning(_report(list(bad.values()), len(self.dataset)))  # type: ignore[arg-type]  # as in Guard


class ResumableLoader(Loader):
    """A Loader of training batches that goes on in the middle of an epoch: Lightning saves and restores its state.

    Its sampler is to be an `EpochSampler`, which knows order and seeds without having gone through the epoch so far.
    """

    _given = 0  # batches of this pass

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # The position is the sampler's; what was skipped was given by the run that is taken up.
        self._given = getattr(self.sampler, "skip", 0) // (self.batch_size or 1)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Batches that were given in this epoch, and the size of one over all processes."""
        return {"batches": self._given, "batch_size": self._global_batch_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next pass go on behind the batches that were given.

        Raises:
            InputError: If batches have another size now, so that their number says nothing of the place.
        """
        given, size = state_dict["batches"], state_dict["batch_size"]
        if not isinstance(self.sampler, EpochSampler) or given >= len(self):  # at the end, an epoch of its own follows
            return
        if size != self._global_batch_size:
            expected = f"batches of {size} over all processes, as the checkpoint stands within an epoch"
            raise InputError(expected, self._global_batch_size, "go on with the same data.batch_size times devices")
        self.sampler.skip = given * (self.batch_size or 1)

    @property
    def _global_batch_size(self) -> int:
        return (self.batch_size or 1) * getattr(self.sampler, "num_replicas", 1)


class Guard(Dataset[Any]):
    """A data set that returns an InputError instead of raising it, and draws at random with the seed of a `Draw`.

    Args:
        dataset: A map-style data set.
        on_bad_image: What a PictureError does: `error` returns it too; `skip` returns the next row that can be read
            instead, as `Replaced`. In training that row is then seen twice in the epoch; in evaluation it has the index
            of a row that is there anyway, and so counts once, as where a distributed sampler repeats rows. Batches keep
            their number and size on every process, so that none waits for another.
        rename: What becomes of the names of pictures and groups; an error still names the file.
    """

    def __init__(
        self, dataset: Dataset[Any], on_bad_image: OnBadImage = "error", rename: Callable[[str], str] = str
    ) -> None:  # fmt: skip
        self.dataset, self.on_bad_image, self.rename = dataset, on_bad_image, rename

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch leaves __len__ out of Dataset

    def __getitem__(self, index: int) -> Any:
        """Return the item, the error, or another row's item with the errors."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return those of a batch; the run's random numbers are put aside once for all of them."""
        drawn = any(isinstance(index, Draw) for index in indices)
        items = []
        with isolate_rng(include_cuda=False) if drawn and get_worker_info() is None else nullcontext():
            for index in indices:
                if isinstance(index, Draw):
                    _seed(index.seed)
                items.append(self._item(int(index)))
        return items

    def _item(self, index: int) -> Any:
        errors: list[PictureError] = []
        while True:
            try:
                item = self._renamed(self.dataset[(index + len(errors)) % len(self)])
                return Replaced(item, tuple(errors)) if errors else item
            except PictureError as error:
                errors.append(_bare(error))
                if self.on_bad_image == "error" or len(errors) >= min(_IN_A_ROW, len(self)):
                    return error if len(errors) == 1 else _too_many(errors)
            except InputError as error:
                return _bare(error)

    def _renamed(self, item: Any) -> Any:
        if self.rename is str or not isinstance(item, dict):
            return item
        return item | {key: self.rename(str(item[key])) for key in ("id", "group") if key in item}


_E = TypeVar("_E", bound=InputError)


def _bare(error: _E) -> _E:
    """The error without the frames it came through, as from a worker: they hold it, the loader and its workers."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _seed(seed: int) -> None:
    """Draw from this seed, whatever generator is drawn from."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what a data set of the user's own may draw from
    random.seed(seed)


def collate(items: list[Any]) -> Any:
    """Make a batch by torch's rules, or pass the first error on; what was left out goes with the batch."""
    error = next((item for item in items if isinstance(item, InputError)), None)
    if error is not None:
        return error
    errors = tuple(error for item in items if isinstance(item, Replaced) for error in item.errors)
    batch = default_collate([item.content if isinstance(item, Replaced) else item for item in items])
    return Replaced(batch, errors) if errors else batch


def _report(errors: list[PictureError], total: int) -> str:
    named = "; ".join(f"{error.expected}, got {error.got}" for error in errors[:_NAMED])
    return (
        f"{len(errors)} of {total} pictures could not be used in this epoch (on_bad_image: skip): another row took the "
        f"place of each in training; in validation and test they are missing from the figures. Expected {named}"
        + ("; ..." if len(errors) > _NAMED else "")
    )


def _too_many(errors: list[PictureError]) -> InputError:
    expected = f"fewer than {len(errors)} bad pictures one after the other, the first {errors[0].expected}"
    return InputError(expected, errors[0].got, "check the data set: on_bad_image: skip is for single pictures")


def make_loader(
    dataset: Dataset[Any],
    batch_size: int,
    num_workers: int,
    *,
    sampler: Sampler[int] | None = None,
    drop_last: bool = False,
    rank: int = 0,
    on_bad_image: OnBadImage = "error",
    rename: Callable[[str], str] = str,
) -> Loader:
    """Return batches of a map-style data set, as every data module and prediction need them.

    Args:
        dataset: The items.
        batch_size: Items in a batch.
        num_workers: Worker processes, which stay over the epochs; 0 reads in this process.
        sampler: What chooses the items; None takes all, in order.
        drop_last: Whether to drop a last batch that is not full.
        rank: Of this process.
        rename: As for `Guard`.
        on_bad_image: As for `Guard`; a warning at the epoch's end names what was left out.
    """
    end_workers_at_exit()
    kind = ResumableLoader if isinstance(sampler, EpochSampler) else Loader
    return kind(
        Guard(dataset, on_bad_image, rename),
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=collate,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=partial(start_worker, rank=rank),
    )


def start_worker(worker: int, rank: int = 0) -> None:
    """Run in a worker process of the process `rank`: its own random numbers by both, and one thread."""
    pl_worker_init_function(worker, rank)
    quiet_worker(worker)
