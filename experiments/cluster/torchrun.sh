#!/bin/bash
# One run on several nodes without SLURM: the same line on every node. A process that dies, or a node that comes back,
# starts all of them again (three times at most), and the run goes on from its last.ckpt by itself:
#   NODES=2 GPUS=4 HEAD=node0:29500 RUN=runs/mured experiments/cluster/torchrun.sh --config mured     # options of ibca fit
set -eu
: "${NODES:?how many nodes}" "${GPUS:?of each node}" "${HEAD:?address and port of the first}" "${RUN:?the run folder, on a disk that all nodes see}"
# The store of torchrun keeps addresses of processes that died; those that are started again would wait for them.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec torchrun --nnodes "$NODES" --nproc_per_node "$GPUS" --max-restarts 3 \
  --rdzv_backend c10d --rdzv_endpoint "$HEAD" --rdzv_id "${RUN##*/}" -m ibca_lightning.cli fit "$@" \
  --run_dir "$RUN" --save_every_n_steps 500 \
  --trainer.strategy ddp --trainer.num_nodes "$NODES" --trainer.devices "$GPUS"
