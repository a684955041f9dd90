#!/bin/bash
# One run on Slurm: the scheduler and the coordinator in the first task, a worker a GPU in all.
# Usage: sbatch docs/scale/slurm.sh SPEC       Before: certificates in $CERTIFICATES (docs/scale.md), a shared folder $SHARED.
# Without GPUs: DEVICE=cpu WORKERS=8 sbatch --gpus-per-node=0 docs/scale/slurm.sh SPEC
#SBATCH --job-name=tmrepro
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
set -euo pipefail

spec=$1
shared=${SHARED:-$PWD}
certificates=${CERTIFICATES:-$PWD}
file=$shared/scheduler-$SLURM_JOB_ID.json
export TMREPRO_TLS_CA=$certificates/ca.pem TMREPRO_TLS_CERT=$certificates/node.pem TMREPRO_TLS_KEY=$certificates/node.key
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=60s
trap 'kill $(jobs -p)' EXIT

dask scheduler --protocol tls --port 0 --no-dashboard --scheduler-file "$file" \
  --tls-ca-file "$TMREPRO_TLS_CA" --tls-cert "$TMREPRO_TLS_CERT" --tls-key "$TMREPRO_TLS_KEY" &
until [ -s "$file" ]; do sleep 1; done

srun tmrepro worker --scheduler-file "$file" --nworkers "${WORKERS:-4}" &
tmrepro run "$spec" --scheduler-file "$file" --device "${DEVICE:-cuda}"
