#!/bin/bash
# One run on several nodes, which goes on where it was when SLURM takes them away or the time is over:
#   RUN=runs/mured sbatch experiments/cluster/slurm.sh --config experiments/mured.yaml     # and options of ibca fit
#SBATCH --job-name=ibca
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4     # a task for each GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300       # five minutes before the end: time for a step, or a validation, and last.ckpt
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
: "${RUN:?the run folder, on a disk that all nodes see}"

if [ -e "$RUN/checkpoints/last.ckpt" ]; then
  options=(--config "$RUN/config.yaml" --ckpt_path "$RUN/checkpoints/last.ckpt")
else
  options=("$@" --run_dir "$RUN" --save_every_n_steps 500)
fi
# Since Slurm 22.05 srun takes this from here alone, no more from --cpus-per-task of sbatch: one core a task otherwise.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --kill-on-bad-exit=0 ibca fit "${options[@]}" \
  --trainer.strategy ddp --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE"
code=$?
if [ "$code" -eq 143 ]; then # saved and stopped by a signal
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
