"""The trials of one search, kept by Optuna in a file that several processes, on one machine or more, may share."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ibca_lightning import __version__
from ibca_lightning.search.space import Space, draw, rounded
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.strangers import regular, told

_NAME = "ibca tune"
_DRAWN = 10  # trials that TPE leaves to chance, as Optuna does; they are those of a random search


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int  # 0 has the defaults
    values: dict[str, Any]  # by dotted key of `ibca fit`
    ours: bool  # its runs lie in the output folder of this process, and not in that of another machine
    ended: bool  # its outcome is in the file
    score: float | None  # that, where there is one


class Search:
    """Asks for trials and is told how they ended.

    Args:
        file: Of Optuna's journal; made if it is not there.
        folder: What names the output folder of this process.
        settings: Plain data that decide the results; a file made under others is not this search's.
        space: Of the search.
        seed: Of the draws.
        sampler: `random` draws by seed and number (see `space.draw`); `tpe` does for the first ten trials, and then by
            the scores so far (Bergstra et al., NeurIPS 2011).
        pruner: `none`, or `median`: a trial whose best epoch is below the others' median at that epoch is stopped.

    Raises:
        InputError: The file is no such journal, cannot be written, or is that of another search.
    """

    def __init__(
        self, file: Path, folder: str, settings: dict[str, Any], space: Space, seed: int, sampler: str, pruner: str
    ) -> None:  # fmt: skip
        settings = {"version": __version__, **settings}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._file, self._folder, self._space, self._seed, self._sampler = file, folder, space, seed, sampler
        # Optuna takes texts for choices, and no lists.
        self._choices = {
            key: {json.dumps(value, default=str): value for value in rule["choice"]}
            for key, rule in space.items() if "choice" in rule
        }  # fmt: skip
        self._reporting: dict[int, optuna.Trial] = {}
        known: Any = None
        try:
            if file.exists():
                regular(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            with sole_user(file, 60):
                storage = JournalStorage(JournalFileBackend(str(file)))
                if _NAME not in [study.study_name for study in storage.get_all_studies()]:
                    storage.create_new_study([StudyDirection.MAXIMIZE], _NAME)
                judge = MedianPruner() if pruner == "median" else NopPruner()
                self._study = optuna.load_study(study_name=_NAME, storage=storage, pruner=judge)
                if "settings" not in self._study.user_attrs:
                    self._study.set_user_attr("settings", settings)
                known = self._study.user_attrs["settings"]
        except InputError:
            raise
        except Exception as error:  # Optuna raises a dozen kinds for a line that is none of its own
            reason = told(error) if isinstance(error, OSError) else "a file that is none, or was changed"
            raise InputError(f"a journal of ibca tune to write at {file}", reason, "give another --storage") from error
        if not isinstance(known, dict):
            what = f"a journal of ibca tune with its settings at {file}"
            raise InputError(what, repr(known), "give another --output or --storage, or remove it")
        if changed := [name for name in settings if known.get(name) != settings[name]]:
            raise InputError(
                f"{file} with trials of the same {', '.join(changed)}", f"others (by ibca {known.get('version')})",
                "give another --output or --storage, or remove them",
            )  # fmt: skip

    @property
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

    def ask(self, budget: int) -> Trial | None:
        """The next trial; None where there are as many as the budget, which all processes share."""
        with sole_user(self._file, 60):
            number = len(self._begun())
            if number >= budget:
                return None
            if self._sampler == "random" or number < _DRAWN:
                drawn = draw(self._space, self._seed, number)
                texts = {key: json.dumps(v, default=str) if key in self._choices else v for key, v in drawn.items()}
                if len(self._study.get_trials(deepcopy=False)) == number:  # else a process died in the next line
                    self._study.enqueue_trial(texts)
            else:
                chance = random.Random(f"{self._seed}/{number}").getrandbits(31)
                self._study.sampler = TPESampler(seed=chance, n_startup_trials=0)
            asked = self._study.ask(self._distributions() if number else {})
            asked.set_user_attr("folder", self._folder)
        self._reporting[number] = asked
        return self.trials[number]

    def tell(self, number: int, score: float | None) -> None:
        """Say how a trial ended: its score, or None where it diverged or was stopped early."""
        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        self._study.tell(number, score, state, skip_if_finished=True)

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
