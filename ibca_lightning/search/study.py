"""The trials of one search, kept by Optuna where several processes, on one machine or more, share them."""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ibca_lightning import __version__
from ibca_lightning.search.space import Space, combination, draw, rounded
from ibca_lightning.search.storage import Shared, reason
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import told

_P = ParamSpec("_P")
_R = TypeVar("_R")
_DRAWN = 10  # trials that TPE leaves to chance, as Optuna does; they are those of a random search


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int  # 0 has the defaults
    values: dict[str, Any]  # by dotted key of `ibca fit`
    ours: bool  # its runs lie in the output folder of this process, and not in that of another machine
    ended: bool  # its outcome is in the file
    score: float | None  # that, where there is one


def _sound(method: Callable[Concatenate["Search", _P], _R]) -> Callable[Concatenate["Search", _P], _R]:
    """Say what a method has met: a journal that is not as Optuna wrote it breaks in a dozen ways."""

    @wraps(method)
    def sound(search: "Search", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(search, *args, **kwargs)
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError) as error:
            if "://" in search.place:
                raise
            what = f"a journal of ibca tune as it was written at {search.place}"
            raise InputError(what, "a file that was changed", "give another --output or --storage") from error

    return sound


class Search:
    """Asks for trials and is told how they ended.

    Args:
        shared: Where the trials are.
        folder: What names the output folder of this process.
        settings: Plain data that decide the results; trials made under others are not this search's.
        space: Of the search.
        seed: Of the draws.
        sampler: `random` draws by seed and number (see `space.draw`); `grid` takes every combination once (see
            `space.combination`); `tpe` draws the first ten trials, and then goes by the scores so far (Bergstra et al.,
            NeurIPS 2011).
        pruner: `none`, or `median`: a trial whose best epoch is below the others' median at that epoch is stopped.

    Raises:
        InputError: What is shared is no such journal or database, cannot be written, or is that of another search.
    """

    def __init__(
        self, shared: Shared, folder: str, settings: dict[str, Any], space: Space, seed: int, sampler: str, pruner: str
    ) -> None:  # fmt: skip
        settings = {"version": __version__, **settings}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.place = shared.place
        self._shared, self._folder, self._space, self._seed, self._sampler = shared, folder, space, seed, sampler
        # Optuna takes texts for choices, and no lists.
        self._choices = {
            key: {json.dumps(value, default=str): value for value in rule["choice"]}
            for key, rule in space.items() if "choice" in rule
        }  # fmt: skip
        self._reporting: dict[int, optuna.Trial] = {}
        known: Any = None
        try:
            with shared.alone():
                self._storage = storage = shared.open()
                if shared.study not in [study.study_name for study in storage.get_all_studies()]:
                    storage.create_new_study([StudyDirection.MAXIMIZE], shared.study)
                judge = MedianPruner() if pruner == "median" else NopPruner()
                self._study = optuna.load_study(study_name=shared.study, storage=storage, pruner=judge)
                if "settings" not in self._study.user_attrs:
                    self._study.set_user_attr("settings", settings)
                known = self._study.user_attrs["settings"]
                if self._study.directions != [StudyDirection.MAXIMIZE]:
                    raise ValueError("another direction")
                shared.mend()
        except InputError:
            raise
        except Exception as error:  # Optuna raises a dozen kinds for a line that is none of its own
            got = told(error) if isinstance(error, OSError) else "a file that is none, or was changed"
            got = reason(error) if "://" in shared.place else got
            raise InputError(
                f"a journal of ibca tune to write at {shared.place}", got, "give another --storage"
            ) from error
        if not isinstance(known, dict):
            what = f"a journal of ibca tune with its settings at {shared.place}"
            raise InputError(what, repr(known), "give another --output or --storage, or remove it")
        if changed := [name for name in settings if known.get(name) != settings[name]]:
            raise InputError(
                f"{shared.place} with trials of the same {', '.join(changed)}",
                f"others (by ibca {known.get('version')})",
                "give another --output or --storage, or remove them",
            )  # fmt: skip

    @property
    @_sound
    def trials(self) -> list[Trial]:
        """All so far, by number."""
        return [self._trial(trial) for trial in self._begun()]

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of trial 0, once some process has said them."""
        return dict(self._study.user_attrs.get("defaults", {}))

    @defaults.setter
    def defaults(self, values: Mapping[str, Any]) -> None:
        self._study.set_user_attr("defaults", dict(values))

    @_sound
    def ask(self, budget: int) -> Trial | None:
        """The next trial; None where there are as many as the budget, which all processes share.

        At the end of the budget it is one whose process is gone, if there is such a one.
        """
        with self._shared.alone():
            number = len(self._begun())
            if number >= budget:
                return self._left(budget)
            if self._sampler != "tpe" or number < _DRAWN:
                grid = self._sampler == "grid"
                drawn = combination(self._space, number) if grid else draw(self._space, self._seed, number)
                texts = {key: json.dumps(v, default=str) if key in self._choices else v for key, v in drawn.items()}
                if len(self._study.get_trials(deepcopy=False)) == number:  # else a process died in the next line
                    self._study.enqueue_trial(texts)
            else:
                chance = random.Random(f"{self._seed}/{number}").getrandbits(31)
                self._study.sampler = TPESampler(seed=chance, n_startup_trials=0)
            asked = self._study.ask(self._distributions() if number else {})
            self._keep(asked._trial_id)
        self._reporting[number] = asked
        return self.trials[number]

    @_sound
    def keep_own(self) -> None:
        """Keep the trials of this output folder that are not done, and whose process is gone, from the others."""
        with self._shared.alone():
            for trial in self._orphans():
                if trial.user_attrs.get("folder") == self._folder:
                    self._keep(trial._trial_id)

    def _left(self, budget: int) -> Trial | None:
        for trial in self._orphans():
            if trial.number < budget:
                self._keep(trial._trial_id)
                return self.trials[trial.number]
        return None

    def _orphans(self) -> Iterator[FrozenTrial]:
        """Trials that were begun by a process that is gone, and not ended."""
        for trial in self._begun():
            token = str(trial.user_attrs.get("process"))
            if not trial.state.is_finished() and token != self._shared.token and not self._shared.lives(token):
                yield trial

    def _keep(self, trial_id: int) -> None:
        for name, value in (("folder", self._folder), ("process", self._shared.token)):
            self._storage.set_trial_user_attr(trial_id, name, value)

    @_sound
    def tell(self, number: int, score: float | None) -> None:
        """Say how a trial ended: its score, or None where it diverged or was stopped early."""
        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        self._study.tell(number, score, state, skip_if_finished=True)

    @_sound
    def behind(self, number: int, scores: Sequence[float]) -> bool:
        """Note the scores of a trial's epochs so far, for the others to be compared with; is it to be stopped?"""
        trial = self._reporting.get(number)
        if trial is None or isinstance(self._study.pruner, NopPruner):  # None: begun by a process that is gone
            return False
        known = len(self._begun()[number].intermediate_values)
        for epoch, score in enumerate(scores[known:], start=known):
            trial.report(score, epoch)
        return len(scores) > known and trial.should_prune()

    def _begun(self) -> list[FrozenTrial]:
        every = self._study.get_trials(deepcopy=False)
        return [trial for trial in every if trial.state != TrialState.WAITING]

    def _trial(self, frozen: FrozenTrial) -> Trial:
        values = {key: self._value(key, frozen.params[key]) for key in self._space if key in frozen.params}
        score = frozen.value if frozen.state == TrialState.COMPLETE else None
        if score is not None and not math.isfinite(score):
            raise ValueError("no score")
        ours = frozen.user_attrs.get("folder") == self._folder
        return Trial(frozen.number, values, ours, frozen.state.is_finished(), score)

    def _value(self, key: str, value: Any) -> Any:
        if key in self._choices:
            return self._choices[key][value]
        return rounded(value) if isinstance(value, float) else value

    def _distributions(self) -> dict[str, BaseDistribution]:
        made: dict[str, BaseDistribution] = {}
        for key, rule in self._space.items():
            ((kind, given),) = rule.items()
            if kind == "choice":
                made[key] = CategoricalDistribution(list(self._choices[key]))
            elif kind == "int_uniform":
                made[key] = IntDistribution(*given)
            else:
                made[key] = FloatDistribution(rounded(given[0]), rounded(given[1]), log=kind == "log_uniform")
        return made
