"""`ibca faithfulness` on a run that was trained on drawn pictures with masks."""

import json
from pathlib import Path

import pytest
import torch

from ibca_lightning.metrics.faithfulness import blurred, random_order, replacement_curve
from ibca_lightning.use import faithfulness as command
from ibca_lightning.use.predictor import load
from tests.command_line import contents, done, experiment, ibca, near, written

SCM = Path(__file__).parents[2] / "experiments/scm.yaml"
SMALL = ("--data.image_size=64", "--data.train_size=32", "--data.val_size=8", "--data.test_size=8")
FIGURES = {"deletion", "insertion", "deletion_random", "insertion_random", "deletion_lesion", "insertion_lesion",
           "deletion_gain", "insertion_gain"}  # fmt: skip


@pytest.fixture(scope="module")
def scm_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scm") / "run"
    done("fit", "--config", SCM, *SMALL, "--trainer.max_epochs=1", "--wandb=disabled", "--run_dir", folder,
         "--trainer.accelerator=cpu")  # fmt: skip
    return folder


def measured(run: Path, *options: object) -> dict:
    done("faithfulness", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", "--device=cpu",
         *options)  # fmt: skip
    output = options[options.index("--output") + 1] if "--output" in options else run
    return json.loads((Path(str(output)) / "faithfulness.json").read_text())


def test_writes_beside_the_run_and_nothing_else(scm_run: Path, here: Path) -> None:
    before = contents(scm_run)
    result = done(
        "faithfulness", "--config", scm_run / "config.yaml", "--ckpt_path", scm_run / "checkpoints/best.ckpt",
        "--pairs", 5, "--device", "cpu",
    )  # fmt: skip
    after = contents(scm_run)
    assert after.keys() - before.keys() == {"faithfulness.json"}
    assert {name: after[name] for name in before} == before
    assert list(here.iterdir()) == []
    assert result.out.startswith("same, 5 pairs: deletion 0.")
    assert result.out.count("\n") == 1
    (scm_run / "faithfulness.json").unlink()


def test_figures_are_those_of_the_pairs(scm_run: Path, tmp_path: Path) -> None:
    result = measured(scm_run, "--pairs", 6, "--output", tmp_path, "--seed", 3)
    assert set(result["metrics"]) == set(result["intervals"]) == FIGURES
    assert set(result["curves"]) == {name for name in FIGURES if not name.endswith("gain")}
    figures = result["metrics"]
    assert figures["deletion_gain"] == pytest.approx(figures["deletion_random"] - figures["deletion"], abs=1e-6)
    assert figures["insertion_gain"] == pytest.approx(figures["insertion"] - figures["insertion_random"], abs=1e-6)
    assert result["pairs"] == 6 == sum(own["pairs"] for own in result["per_class"].values())
    assert result["shares"] == pytest.approx([round(6.4 * step) / 64 for step in range(11)])  # 8 x 8 cells
    for name, curve in result["curves"].items():
        assert torch.trapezoid(torch.tensor(curve), torch.tensor(result["shares"])).item() == pytest.approx(
            figures[name], abs=1e-5
        )
        low, high = result["intervals"][name]
        assert low <= figures[name] <= high
    # Every deletion starts at the picture and ends where every insertion starts.
    ends = [curve[::-1] if name.startswith("insertion") else curve for name, curve in result["curves"].items()]
    assert [curve[0] for curve in ends] == pytest.approx([ends[0][0]] * 6, abs=1e-6)
    assert [curve[-1] for curve in ends] == pytest.approx([ends[0][-1]] * 6, abs=1e-6)


def test_one_pair_by_hand(scm_run: Path, tmp_path: Path) -> None:
    """The sample, the test set's name and the seed of the random order, without the command."""
    result = measured(scm_run, "--pairs", 1, "--seed", 2, "--output", tmp_path, "--test_set", "reversed", "--steps", 4)
    predictor = load(scm_run / "checkpoints/best.ckpt", "cpu")
    from ibca_lightning.data import SCMDataModule

    data = SCMDataModule(image_size=64, test_size=8).test_sets()["reversed"]
    pairs = torch.from_numpy(data.labels == 1).nonzero()
    row, label = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(2))[0]].tolist()
    image = data[row]["image"]
    attention = predictor.forward(image[None])[1][0, label]
    for name, order in (
        ("deletion", attention),
        ("deletion_random", random_order(8, 8, (2 * 1_000_003 + row) * 6 + label)),
    ):
        curve = replacement_curve(
            lambda images: predictor.forward(images)[0], image, blurred(image), order, label, steps=4
        )
        assert result["curves"][name] == pytest.approx(curve.probabilities.tolist(), abs=1e-6)
        assert result["metrics"][name] == pytest.approx(curve.area, abs=1e-6)
    assert result["test_set"] == "reversed"


def test_the_sample_is_seeded_and_the_same_for_every_model(scm_run: Path, tmp_path: Path) -> None:
    results = [measured(scm_run, "--pairs", 4, "--seed", seed, "--output", tmp_path) for seed in (1, 1, 2)]
    assert results[0] == results[1]
    assert results[0]["metrics"] != results[2]["metrics"]


def test_two_processes_and_one_that_was_killed_measure_what_one_does(
    scm_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--config", scm_run / "config.yaml", "--ckpt_path", scm_run / "checkpoints/best.ckpt", "--device=cpu",
             "--pairs", 12, "--steps", 3)  # fmt: skip
    measure, looked_at = command._measured, list[int]()

    def of(folder: str, *ranks: int) -> dict:
        for rank in ranks:
            assert not (tmp_path / folder / "faithfulness.json").exists()
            with monkeypatch.context() as patch:
                for name, value in (("RANK", rank), ("WORLD_SIZE", len(ranks))):
                    patch.setenv(name, str(value))
                done("faithfulness", *given, "--output", tmp_path / folder)
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["faithfulness.json"]
        return json.loads((tmp_path / folder / "faithfulness.json").read_text())

    def killed_at_the_third(model: object, item: object, row: int, *others: object) -> object:
        looked_at.append(row)
        if len(looked_at) == 3:
            raise KeyboardInterrupt
        return measure(model, item, row, *others)

    alone = of("one", 0)
    assert alone["pictures"] >= 4
    near(of("two", 1, 0), alone)
    monkeypatch.setattr(command, "_measured", killed_at_the_third)
    killed = ("faithfulness", *given, "--output", tmp_path / "killed")
    assert ibca(*killed).code == 130
    assert "curves of the same settings" in ibca(*killed, "--seed", 5).errors[0]
    near(of("killed", 1, 0), alone)
    del looked_at[2]
    assert len(looked_at) == len(set(looked_at)) == alone["pictures"], "none is measured twice"


def test_filler_and_precision_are_heeded(scm_run: Path, tmp_path: Path) -> None:
    plain, mean, half = (
        measured(scm_run, "--pairs", 3, "--output", tmp_path, *options)["metrics"]
        for options in ((), ("--filler", "mean"), ("--precision", "bf16"))
    )
    assert mean["deletion"] != plain["deletion"]
    assert mean["insertion"] == plain["insertion"]
    assert half["insertion"] != plain["insertion"]
    assert half["insertion"] == pytest.approx(plain["insertion"], abs=0.05)


def test_without_masks_there_is_no_lesion_order(run: Path, tmp_path: Path) -> None:
    result = measured(run, "--pairs", 500, "--output", tmp_path)
    assert set(result["metrics"]) == {name for name in FIGURES if not name.endswith("lesion")}
    assert result["pairs"] < 500
    assert result["shares"] == [0, 1]  # 32 px at stride 32: one cell


class Maps(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, row: int) -> dict:
        return {"features": torch.zeros(4, 2, 2), "label": torch.tensor([1, 0, 0]), "id": "a"}


def test_wrong_input_is_one_line(scm_run: Path, run: Path, tree: Path, tmp_path: Path) -> None:
    common = ("--config", scm_run / "config.yaml", "--ckpt_path", scm_run / "checkpoints/best.ckpt")
    other = written(tmp_path / "other.yaml", experiment(tree))
    for arguments, words in (
        (common[2:], "a value for data"),
        (common[:2], "--ckpt_path"),
        ((*common, "--pairs", 0), "--pairs of at least 1"),
        ((*common, "--test_set", "no"), "same, independent, reversed"),
        ((*common, "--data.image_size", 48), "--data.image_size 64"),
        ((*common, "--data.image_sise", 48), "image_size"),
        ((*common, "--pair", 3), "--pair"),
        (("--config", other, *common[2:]), "the model's classes"),
    ):
        result = ibca("faithfulness", *arguments)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]
    from ibca_lightning.system.errors import InputError

    with pytest.raises(InputError, match="pictures' experiment"):
        command._item(torch.utils.data.DataLoader(Maps()), 0, 32)
