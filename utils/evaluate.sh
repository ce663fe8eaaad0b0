#!/usr/bin/env bash
# The whole row of any upstream: every task that the corpus has labels for. Run it in a recipe's folder, behind its
# stages 1 to 3; the stages 6 to 8 of run.sh call it for every --upstream, and utils/compare_methods.sh for its methods.
#
#   utils/evaluate.sh tasks|train|score|report [MORE ...]
#
# Systems are trained and scored side by side, as many as the cores have room for, each on its share of them; what each
# says goes to exp/log/STAGE-SYSTEM-SEED.log, or STAGE-SYSTEM-SEED-TASK.log.
#
# run.sh exports what is asked for; MORE goes to `speechrep suite` as it is (--data, --exp and --dump FOLDER, report
# without the last; train: --set KEY=VALUE; report: --credits FILE):
#
#   upstream     specs by commas, each SPEC or NAME=SPEC: mfcc, logmel, a checkpoint, random:CHECKPOINT, a folder in
#                transformers' format; {seed} stands for the seed. Default: mfcc
#   task         names by commas, or all that the corpus can run (default)
#   seed         a number, or several by commas: 0
#   nj           jobs that compute features at a time: 1
#   device       what learns and hears: cpu, cuda, cuda:1 ... or auto (default), a GPU where there is one
#   processes    processes that share a training: 1
#   superb_compatible, sweep    true or false: the reference's habits; a search of each learning rate on dev
#
# It leaves, in the folder that --exp names in place of exp, exp/tasks/SYSTEM-SEED/TASK, exp/METHODS.md, exp/METHODS.json
# and exp/report/methods.html, with its pictures beside it: bars.svg, ahead_of_NAME.svg and layers.svg.
set -euo pipefail
. "$(dirname "$0")/jobs.sh"
stage=${1:-} upstream=${upstream:-mfcc} task=${task:-all} seed=${seed:-0} nj=${nj:-1} processes=${processes:-1}
device=${device:-auto}
shift || true
options=(--conf conf --conf ../mini/conf)
[ "${superb_compatible:-false}" = false ] || options+=(--superb-compatible)
# Of MORE what `suite tasks` and `suite table` take too.
asked=() results=() more=("$@")
for i in "${!more[@]}"; do
  case ${more[i]} in
    --data | --set) asked+=("${more[@]:i:2}") ;;
    --exp) results=("${more[@]:i:2}") ;;
  esac
done
IFS=, read -ra systems <<<"$upstream"
IFS=, read -ra seeds <<<"$seed"

# Whether there is one system only, or fewer than may run at a time.
few() {
  local rows=$((${#systems[@]} * ${#seeds[@]}))
  [ "$rows" -eq 1 ] || [ "$rows" -lt "$nj" ]
}

# speechrep suite KIND for each system in each seed. Where those are few, for each task of them, and the features that the
# tasks share are computed before and stay; of many systems they would fill the disk, and go when a system is done, unless
# other seeds of the tasks hear the same one.
each() { # KIND [OPTION ...]
  local more parts=("$task") part own system name keep_going=true
  if few && [ "$nj" -gt 1 ]; then
    readarray -t parts < <(speechrep suite tasks "${options[@]}" "${asked[@]}" --task "$task" 2>/dev/null)
  fi
  planned=$((${#seeds[@]} * ${#systems[@]} * ${#parts[@]}))
  for own in "${seeds[@]}"; do
    for system in "${systems[@]}"; do
      more=()
      if ! few && { [ "${#seeds[@]}" -eq 1 ] || [[ $system = *'{seed}'* ]]; }; then more=(--forget); fi
      for part in "${parts[@]}"; do
        name=$1-${system%%=*}-$own
        [ "${#parts[@]}" -eq 1 ] || name+=-$part
        name=${name//[^[:alnum:]_.-]/-}
        background "$name" \
          speechrep suite "$1" --upstream "$system" --seed "$own" --device "$device" --task "$part" "${options[@]}" \
          "${more[@]}" "${@:2}"
      done
    done
  done
  all_done
}

case $stage in
  tasks)
    speechrep suite tasks "${options[@]}" "${asked[@]}" --task "$task"
    ;;
  train)
    speechrep suite tasks "${options[@]}" "${asked[@]}" --task "$task"
    all_jobs=$nj nj=$(side_by_side)
    ! few || speechrep suite extract "${options[@]}" --task "$task" --upstream "$upstream" --seed "$seed" --nj "$all_jobs" \
      --device "$device" "$@"
    [ "${sweep:-false}" = false ] || options+=(--sweep)
    each train --processes "$processes" "$@"
    ;;
  score)
    nj=$(side_by_side)
    each score "$@"
    speechrep suite table "${results[@]}"
    ;;
  report)
    speechrep suite report "$@"
    ;;
  *)
    echo "evaluate.sh: no stage '$stage'; wanted: tasks, train, score or report" >&2
    exit 2
    ;;
esac
