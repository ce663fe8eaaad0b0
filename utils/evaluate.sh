#!/usr/bin/env bash
# The whole row of any upstream: every task that the corpus has labels for. Run it in a recipe's folder, behind its
# stages 1 to 3; the stages 6 to 8 of run.sh call it for every --upstream, and utils/compare_methods.sh for its methods.
#
#   utils/evaluate.sh train|score|report [MORE ...]
#
# run.sh exports what is asked for; MORE goes to `speechrep suite` as it is (--data, --exp and --dump FOLDER; train:
# --set KEY=VALUE; report: --credits FILE):
#
#   upstream     specs by commas, each SPEC or NAME=SPEC: mfcc, logmel, a checkpoint, random:CHECKPOINT, a folder in
#                transformers' format; {seed} stands for the seed. Default: mfcc
#   task         names by commas, or all that the corpus can run (default)
#   seed         a number, or several by commas: 0
#   nj           jobs that compute features at a time: 1
#   processes    processes that share a training: 1
#   superb_compatible, sweep    true or false: the reference's habits; a search of each learning rate on dev
#
# It leaves exp/tasks/SYSTEM-SEED/TASK, exp/METHODS.md, exp/METHODS.json and exp/report/methods.html.
set -euo pipefail
stage=${1:-} upstream=${upstream:-mfcc} task=${task:-all} seed=${seed:-0} nj=${nj:-1} processes=${processes:-1}
shift || true
options=(--conf conf --conf ../mini/conf --task "$task" --upstream "$upstream" --seed "$seed")
[ "${superb_compatible:-false}" = false ] || options+=(--superb-compatible)

case $stage in
  train)
    [ "${sweep:-false}" = false ] || options+=(--sweep)
    speechrep suite train "${options[@]}" --nj "$nj" --processes "$processes" "$@"
    ;;
  score)
    speechrep suite score "${options[@]}" "$@"
    ;;
  report)
    speechrep suite report "$@"
    ;;
  *)
    echo "evaluate.sh: no stage '$stage'; wanted: train, score or report" >&2
    exit 2
    ;;
esac
