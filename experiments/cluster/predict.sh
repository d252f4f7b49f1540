#!/bin/bash
# A folder of pictures by many processes, each with its share; sent again, it goes on where it was:
#   sbatch experiments/cluster/predict.sh --ckpt_path CKPT --images FOLDER --output DIR     # options of ibca predict
#SBATCH --job-name=ibca-predict
#SBATCH --ntasks=8
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
set -eu
# Since Slurm 22.05 srun takes this from here alone, no more from --cpus-per-task of sbatch: one core a task otherwise.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --kill-on-bad-exit=0 ibca predict --num_workers "${SLURM_CPUS_PER_TASK:-8}" "$@"
