#!/bin/bash
# Two "nodes" of one process each on this machine, over gloo: what several machines do, tried without them.
#   experiments/cluster/two_nodes.sh --config experiments/scm.yaml     # and further options of ibca fit
# On real machines, start `node 0` on the first and `node 1` on the second, with the first one's address.
set -u
address=${MASTER_ADDR:-127.0.0.1} port=${MASTER_PORT:-29500}

node() {
  local rank=$1
  shift
  python -m torch.distributed.run --nnodes 2 --nproc_per_node 1 --node_rank "$rank" \
    --master_addr "$address" --master_port "$port" -m ibca_lightning.cli fit "$@" \
    --trainer.accelerator cpu --trainer.strategy ddp --trainer.num_nodes 2 --trainer.devices 1
}

node 1 "$@" &
other=$!
node 0 "$@"
code=$?
wait "$other"
exit "$code"
