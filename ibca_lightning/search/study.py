"""The trials of one search, kept by Optuna in a file that several processes, on one machine or more, may share."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ibca_lightning.search.draws import Space, draw, rounded
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user

_DRAWN = 10  # trials that TPE leaves to chance, as Optuna does; they are those of a random search


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: From 0; 0 has the defaults.
        values: What it tries, by dotted key of `ibca fit`.
        ours: Whether its runs lie in the output folder of this process, and not in that of another machine.
        ended: Whether its outcome is in the file.
        score: That, where there is one.
    """

    number: int
    values: dict[str, Any]
    ours: bool
    ended: bool
    score: float | None


class Search:
    """Asks for trials and is told how they ended.

    Args:
        file: Of Optuna's journal; made if it is not there.
        folder: What names the output folder of this process.
        settings: Plain data that decide the results; a file made under others is not this search's.
        space: Of the search.
        seed: Of the draws.
        sampler: `random` draws by seed and number (see `draws`); `tpe` does for the first ten trials, and then by
            the scores so far (Bergstra et al., NeurIPS 2011).
        pruner: `none`, or `median`: a trial whose best epoch is below the others' median at that epoch is stopped.

    Raises:
        InputError: The file is no such journal, cannot be written, or is that of another search.
    """

    def __init__(
        self, file: Path, folder: str, settings: Any, space: Space, seed: int, sampler: str, pruner: str
    ) -> None:  # fmt: skip
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._file, self._folder, self._space, self._seed, self._sampler = file, folder, space, seed, sampler
        self._texts = {key: [json.dumps(v, default=str) for v in rule.get("choice", ())] for key, rule in space.items()}
        self._reporting: dict[int, optuna.Trial] = {}
        self._reported: dict[int, int] = {}
        judge: BasePruner = MedianPruner() if pruner == "median" else NopPruner()
        self._judges = pruner != "none"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with sole_user(file, 60):
                self._study: Study = optuna.create_study(
                    storage=JournalStorage(JournalFileBackend(str(file))), study_name="ibca tune",
                    direction="maximize", load_if_exists=True, pruner=judge,
                )  # fmt: skip
                if "settings" not in self._study.user_attrs:
                    self._study.set_user_attr("settings", settings)
                known = self._study.user_attrs["settings"]
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InputError(f"a journal of ibca tune to write at {file}", reason, "give another --storage") from error
        if known != settings:
            raise InputError(f"the journal of this search at {file}", "that of another", "give another --storage")

    @property
    def trials(self) -> list[Trial]:
        """All so far, by number."""
        return [self._trial(trial) for trial in self._study.get_trials(deepcopy=False)]

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of trial 0, once some process has said them."""
        return dict(self._study.user_attrs.get("defaults", {}))

    @defaults.setter
    def defaults(self, values: Mapping[str, Any]) -> None:
        self._study.set_user_attr("defaults", dict(values))

    def ask(self, budget: int) -> Trial | None:
        """The next trial; None where there are as many as the budget, which all processes share."""
        with sole_user(self._file, 60):
            number = len(self._study.get_trials(deepcopy=False))
            if number >= budget:
                return None
            drawn = self._sampler == "random" or number < _DRAWN
            chance = random.Random(f"{self._seed}/{number}").getrandbits(31)
            self._study.sampler = (
                _ByNumber(self._space, self._seed) if drawn else TPESampler(seed=chance, n_startup_trials=0)
            )
            asked = self._study.ask(self._distributions() if number else {})
            asked.set_user_attr("folder", self._folder)
        self._reporting[number] = asked
        return self._trial(self._study.get_trials(deepcopy=False)[number])

    def tell(self, number: int, score: float | None) -> None:
        """Say how a trial ended: its score, or None where it diverged or was stopped early."""
        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        self._study.tell(number, score, state, skip_if_finished=True)

    def behind(self, number: int, scores: Sequence[float]) -> bool:
        """Note how a trial is getting on, for the others to be compared with; say whether it is to be stopped.

        Args:
            number: Of the trial.
            scores: Of its epochs so far.
        """
        trial = self._reporting.get(number) if self._judges else None
        if trial is None:  # one that was begun before, by a process that is gone
            return False
        known = self._reported.get(number, 0)
        for epoch, score in enumerate(scores[known:], start=known):
            trial.report(score, epoch)
        self._reported[number] = len(scores)
        return len(scores) > known and trial.should_prune()

    def _trial(self, frozen: FrozenTrial) -> Trial:
        values = {key: self._value(key, frozen.params[key]) for key in self._space if key in frozen.params}
        ended = frozen.state.is_finished()
        score = frozen.value if frozen.state == TrialState.COMPLETE else None
        return Trial(frozen.number, values, frozen.user_attrs.get("folder") == self._folder, ended, score)

    def _value(self, key: str, value: Any) -> Any:
        if "choice" in self._space[key]:
            return self._space[key]["choice"][self._texts[key].index(value)]
        return rounded(value) if isinstance(value, float) else value

    def _distributions(self) -> dict[str, BaseDistribution]:
        made: dict[str, BaseDistribution] = {}
        for key, rule in self._space.items():
            ((kind, given),) = rule.items()
            if kind == "choice":
                made[key] = CategoricalDistribution(self._texts[key])
            elif kind == "int_uniform":
                made[key] = IntDistribution(*given)
            else:
                made[key] = FloatDistribution(given[0], given[1], log=kind == "log_uniform")
        return made


class _ByNumber(BaseSampler):
    """Draws by seed and number, whatever the other trials gave: budgets are equal, and trials repeat."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        value = draw({param_name: self._space[param_name]}, self._seed, trial.number)[param_name]
        return json.dumps(value, default=str) if "choice" in self._space[param_name] else value
