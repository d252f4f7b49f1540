"""`best.ckpt` and `last.ckpt` of a run folder, which may be moved between a run and its resumption."""

import os
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that knows its own files again where the run folder lies elsewhere now.

    Lightning forgets the best score with the folder's path, and the first validation of the resumed run would take
    the place of a better `best.ckpt`. What lies in another run's folder stays forgotten: a new run has its own best.

    `monitor` is the figure to maximise; None keeps the newest (see `LastCheckpoint`).
    """

    def __init__(self, folder: str, name: str, monitor: str | None = None) -> None:
        super().__init__(
            folder, name, monitor=monitor, mode="max", auto_insert_metric_name=False, enable_version_counter=False
        )

    def state_dict(self) -> dict[str, Any]:
        """That of Lightning without the folder: a checkpoint is handed on, and a path may name a clinic."""
        state = super().state_dict()
        own = {name: os.path.basename(path) for name, path in state.items() if name.endswith("_path")}
        kept = {os.path.basename(path): score for path, score in state["best_k_models"].items()}
        return state | own | {"best_k_models": kept, "dirpath": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score if its checkpoint lies in this folder."""
        path = os.path.join(str(self.dirpath), os.path.basename(state_dict["best_model_path"]))
        if not os.path.isfile(path):
            return
        scores = list(state_dict["best_k_models"].values())  # at most one
        kept = {path: scores[0]} if scores else {}
        moved = {"dirpath": self.dirpath, "best_model_path": path, "best_k_models": kept}
        super().load_state_dict(state_dict | moved | {"kth_best_model_path": path if kept else ""})
