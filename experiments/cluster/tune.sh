#!/bin/bash
# One search by many tasks, which share its trials; a task that is killed leaves its trial to the others:
#   STORAGE=runs/tune/csra.journal sbatch --array=0-7 experiments/cluster/tune.sh \
#     --config idrid_maps --head csra --trials 64     # options of ibca tune
# STORAGE is a file on a disk that all nodes see, or postgresql://USER@HOST/DATABASE#SEARCH with its password in ~/.pgpass.
#SBATCH --job-name=ibca-tune
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
set -eu
: "${STORAGE:?what the tasks share}"
# Since Slurm 22.05 srun takes this from here alone, no more from --cpus-per-task of sbatch: one core a task otherwise.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun ibca tune "$@" --storage "$STORAGE" --output "runs/tune/task-$SLURM_ARRAY_TASK_ID"
