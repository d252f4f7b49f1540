import csv

from ibca_lightning.run.callbacks.metrics_csv import RunCSVLogger
from ibca_lightning.run.training_figures import read_training
from tests.training import Pictures, best, loader, module, trainer


def read(folder):
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_of_an_earlier_start_stay_and_new_columns_join_them(tmp_path):
    first = RunCSVLogger(str(tmp_path))
    first.log_metrics({"b": 1.0}, step=0)
    first.save()
    second = RunCSVLogger(str(tmp_path))
    second.log_metrics({"a": 3.0, "b": 2.0}, step=1)
    second.log_metrics({"c": 4.0}, step=2)
    second.finalize("success")
    rows = read(tmp_path)
    assert [(row["step"], row["a"], row["b"], row["c"]) for row in rows] == [
        ("0", "", "1.0", ""), ("1", "3.0", "2.0", ""), ("2", "", "", "4.0"),
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path):
    pictures = Pictures(8)
    for epochs, resume in ((1, None), (2, tmp_path / "best.ckpt")):
        run = trainer(max_epochs=epochs, callbacks=[best(tmp_path)], logger=RunCSVLogger(str(tmp_path)))
        run.fit(module(), loader(pictures), loader(pictures), ckpt_path=resume, weights_only=True)
    rows = read(tmp_path)
    assert [row["epoch"] for row in rows if row["val/mAP"]] == ["0", "1"]
    assert [row["epoch"] for row in rows if row["train/loss_epoch"]] == ["0", "1"]


def test_any_name_of_a_figure_comes_back(tmp_path):
    names = [f"val/AP/a{mark}b" for mark in ("\u2028", "\x85", "\v", "\f", "\x1c", "\n", "\r", "\r\n", '"', ",")]
    for start in range(2):
        logger = RunCSVLogger(str(tmp_path))
        for name in names[start:]:
            logger.log_metrics({name: 0.5}, step=start)
            logger.save()
    assert [{*row} - {"step"} for row in read_training(tmp_path)] == [{name} for name in (*names, *names[1:])]
