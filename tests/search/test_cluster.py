"""The files of `experiments/cluster`, each parsed, and run with stand-ins for what a cluster has."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.command_line.config_files import check_config_files
from ibca_lightning.run.command_line.shipped import with_recipe_files
from tests.command_line import REPOSITORY, done, experiment, of_two_processes, rows, written
from tests.search.test_tune import small

SCRIPTS = REPOSITORY / "experiments" / "cluster"


def dry_run(tmp_path: Path, script: str, *arguments: str, **environment: str) -> list[str]:
    """The command lines that a script would start, each as its words between bars."""
    for name in ("srun", "scontrol", "torchrun", "ibca"):
        stub = tmp_path / name
        stub.write_text(
            f'#!/bin/bash\n{{ printf "%s|" {name} "$@"; echo; }} >> {tmp_path}/started\n'
            f'echo "${{SRUN_CPUS_PER_TASK-unset}}" > {tmp_path}/cores\n'
        )
        stub.chmod(0o755)
    (tmp_path / "started").unlink(missing_ok=True)
    result = subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], check=False, capture_output=True, text=True, cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return (tmp_path / "started").read_text().splitlines()


def test_every_file_is_sound_and_in_a_test_of_this_module() -> None:
    own = Path(__file__).read_text()
    for path in SCRIPTS.iterdir():
        assert f'"{path.name}"' in own
        if path.suffix == ".sh":
            subprocess.run(["bash", "-n", str(path)], check=True)
            assert os.access(path, os.X_OK)


def test_torchrun_is_started_alike_on_every_node(tmp_path: Path) -> None:
    given = {"NODES": "2", "GPUS": "4", "HEAD": "node0:29500", "RUN": "runs/a run"}
    (line,) = dry_run(tmp_path, "torchrun.sh", "--config", "mured", **given)
    assert line.startswith("torchrun|--nnodes|2|--nproc_per_node|4|--max-restarts|3|--rdzv_backend|c10d|")
    assert "|-m|ibca_lightning.cli|fit|--config|mured|--run_dir|runs/a run|" in line
    assert line.endswith("|--trainer.num_nodes|2|--trainer.devices|4|")
    torchrun_takes(line.split("|")[1:-1])


def test_arrays_and_shares_of_slurm_are_told_what_is_theirs(tmp_path: Path) -> None:
    task = {"SLURM_ARRAY_TASK_ID": "3", "STORAGE": "shared/journal"}
    assert dry_run(tmp_path, "tune.sh", "--trials", "64", **task) == [
        "srun|ibca|tune|--trials|64|--storage|shared/journal|--output|runs/tune/task-3|"
    ]
    assert dry_run(tmp_path, "predict.sh", "--output", "a b", SLURM_CPUS_PER_TASK="4") == [
        "srun|--kill-on-bad-exit=0|ibca|predict|--num_workers|4|--output|a b|"
    ]


@pytest.mark.parametrize("script", ["predict.sh", "slurm.sh", "sweep.sh", "tune.sh"])
def test_srun_is_told_the_cores_of_a_task(tmp_path: Path, script: str) -> None:
    given = {"STORAGE": "journal", "RUN": "run", "SLURM_ARRAY_TASK_ID": "0", "SLURM_NNODES": "1", "SLURM_JOB_ID": "1"}
    dry_run(tmp_path, script, **given, SLURM_NTASKS_PER_NODE="1", SLURM_CPUS_PER_TASK="4")
    assert (tmp_path / "cores").read_text() == "4\n", "which it does not take from sbatch"
    dry_run(tmp_path, script, **given, SLURM_NTASKS_PER_NODE="1")
    assert (tmp_path / "cores").read_text() == "unset\n"


def test_the_job_of_kubernetes_is_one_run_of_its_nodes() -> None:
    service, job = yaml.safe_load_all((SCRIPTS / "kubernetes.yaml").read_text())
    assert (service["kind"], service["apiVersion"], job["kind"], job["apiVersion"]) == (
        "Service",
        "v1",
        "Job",
        "batch/v1",
    )
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    assert service["spec"] == {"clusterIP": "None", "selector": {"job-name": name}}
    assert spec["completionMode"] == "Indexed", "or the pods have no names to find each other by"
    assert spec["completions"] == spec["parallelism"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert pod["restartPolicy"] == "OnFailure"
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    first, *command = container["command"]
    assert first == "torchrun"
    given = torchrun_takes(command)
    assert given.nnodes == str(spec["completions"])
    assert given.rdzv_endpoint == f"{name}-0.{pod['subdomain']}:29500"
    assert int(given.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--trainer.num_nodes={spec['completions']}" in command
    assert f"--trainer.devices={given.nproc_per_node}" in command


def torchrun_takes(words: list[str]) -> Any:
    """What torchrun makes of them; the rest is an `ibca fit` that finds its YAML and names its run folder."""
    from torch.distributed.run import parse_args

    given = parse_args(words)
    assert given.module
    assert given.training_script == "ibca_lightning.cli"
    assert given.max_restarts == 3
    command, *options = given.training_script_args
    assert command == "fit"
    check_config_files(with_recipe_files(options))
    assert any(option.startswith("--run_dir") for option in options)
    return given


@pytest.mark.slow
def test_two_nodes_train_one_run(tree: Path, here: Path) -> None:
    config = written(here / "e.yaml", experiment(tree, batch_size=2))
    command = [SCRIPTS / "two_nodes.sh", "--config", config, "--save_every_n_steps", "2"]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=500,
        env=of_two_processes() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = (here / "runs/e").iterdir()  # chosen once, whatever second each node starts in
    # 15 rows: two processes of 2 have 3 steps an epoch, one of 2 would have 7.
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 3
    assert len([row for row in rows(run / "metrics.csv") if row["val/mAP"]]) == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("epoch 1/1")]) == 1
    assert sorted(path.name for path in here.iterdir()) == ["e.yaml", "runs"]


def test_slurm_starts_a_run_requeues_it_and_goes_on_with_it(tmp_path: Path) -> None:
    for name, code in (("srun", "${CODE:-143}"), ("scontrol", "0")):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/bash\necho {name} "$@" >> {tmp_path}/calls\nexit {code}\n')
        stub.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "RUN": str(tmp_path / "a run"), "SLURM_NNODES": "2",
        "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_ID": "7",
    }  # fmt: skip

    def submit(code: str) -> tuple[int, list[str]]:
        (tmp_path / "calls").unlink(missing_ok=True)
        command = ["bash", str(SCRIPTS / "slurm.sh"), "--config", "e.yaml"]
        result = subprocess.run(command, check=False, env=environment | {"CODE": code}, capture_output=True, text=True)
        return result.returncode, (tmp_path / "calls").read_text().splitlines()

    code, calls = submit("143")
    assert code == 143
    assert f"--config e.yaml --run_dir {tmp_path}/a run --save_every_n_steps 500 " in calls[0]
    assert "--trainer.num_nodes 2 --trainer.devices 4" in calls[0]
    assert calls[1:] == ["scontrol requeue 7"]
    last = tmp_path / "a run/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    code, calls = submit("0")
    assert (code, len(calls)) == (0, 1)
    assert f"ibca fit --config {tmp_path}/a run/config.yaml --ckpt_path {last} " in calls[0]
    assert "--run_dir" not in calls[0]
    assert submit("1")[1][1:] == [], "what failed is not begun again"


@pytest.mark.slow
def test_the_tasks_of_a_sweep_run_side_by_side_and_are_collected(here: Path, tmp_path: Path) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, line in (("srun", 'exec "$@"'), ("ibca", f'exec {sys.executable} -m ibca_lightning.cli "$@"')):
        (bin_dir / name).write_text(f"#!/bin/bash\n{line}\n")
        (bin_dir / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    sweep = ["--config", str(small(here)), "--heads", "gap", "csra", "--seeds", "0", "--output", "out",
             "--trainer.max_epochs", "1"]  # fmt: skip
    count = int(done("sweep", *sweep, "--count").out)
    assert count == 2
    tasks = [
        subprocess.Popen(
            ["bash", SCRIPTS / "sweep.sh", *sweep], env=environment | {"SLURM_ARRAY_TASK_ID": str(task)},
            stderr=subprocess.PIPE, text=True,
        )
        for task in [*range(count), 0]  # a task that was sent twice is no failure
    ]  # fmt: skip
    told = [task.communicate(timeout=500)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0] * 3, told
    assert not (here / "out/sweep.csv").exists()
    assert "2 of 2 were done before" in done("sweep", *sweep).err
    assert [row["name"] for row in rows(here / "out/sweep.csv")] == ["gap", "csra"]


DIE_ONCE = """
import os, signal
from lightning.pytorch.callbacks import Callback

class DieOnce(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and trainer.current_epoch == 2 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_torchrun_starts_a_run_again_that_lost_a_process(tree: Path, here: Path) -> None:
    (here / "die_once.py").write_text(DIE_ONCE)
    config = written(here / "e.yaml", experiment(tree, batch_size=2))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--max-restarts", "1",
        "-m", "ibca_lightning.cli", "fit", "--config", str(config), "--run_dir", "run", "--trainer.strategy", "ddp",
        "--trainer.devices", "2", "--trainer.max_epochs", "3", "--trainer.callbacks+=die_once.DieOnce",
    ]  # fmt: skip
    environment = of_two_processes() | {"PYTHONPATH": f"{REPOSITORY}:{here}", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500, env=environment)
    assert result.returncode == 0, result.stderr
    assert read_checkpoint(here / "run/checkpoints/last.ckpt")["global_step"] == 9
    assert len([row for row in rows(here / "run/metrics.csv") if row["val/mAP"]]) == 3
    assert "epoch 3/3" in result.stderr
