#!/bin/bash
# A sweep as a SLURM array, one run a task; at the end the same command collects the table:
#   sweep="--config experiments/mured.yaml --heads gap csra ibca --seeds 0 1 2 --output runs/sweep"
#   sbatch --array=0-$(($(ibca sweep $sweep --count) - 1)) experiments/cluster/sweep.sh $sweep
#   ibca sweep $sweep
#SBATCH --job-name=ibca-sweep
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
set -eu
# Since Slurm 22.05 srun takes this from here alone, no more from --cpus-per-task of sbatch: one core a task otherwise.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun ibca sweep "$@" --job "$SLURM_ARRAY_TASK_ID"
