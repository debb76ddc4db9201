#!/usr/bin/env bash
# tools/quickstart --once, twice: it ends well, shows what it promises, and leaves nothing behind.
# usage: quickstart.sh TOP BUILD
set -euo pipefail
top=$1
build=$2
if [ "$(id -u)" != 0 ]; then
  echo 'skipped: tools/quickstart makes network interfaces, which needs root'
  exit 77
fi
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for run in first second; do
  output=$("$top/tools/quickstart" --once --build "$build" </dev/null 2>&1) || {
    printf '%s\nthe %s run failed\n' "$output" "$run"
    exit 1
  }
  for promise in 'driftlockd ready: address=' 'alice .*starts' 'bob .*starts' 'token [0-9]+' \
    'until [0-9-]+ [0-9:.]+ TAI' 'stamps (tsc|hardware|software)' 'clock +SYNC +\[' \
    'driftlock_operations_total' '^== Done'; do
    grep -Eq "$promise" <<<"$output" || {
      printf '%s\nthe %s run does not show: %s\n' "$output" "$run" "$promise"
      exit 1
    }
  done
  # The second client starts when the first has ended. By their own stamps: the lines come through
  # two pipes, which a busy machine may empty in another order.
  grep -E '^(alice|bob) +[0-9:.]+ (starts|ends)$' <<<"$output" | sort -s -k 2,2 |
    awk '{print $1, $3}' >"$TMPDIR/order"
  printf 'alice starts\nalice ends\nbob starts\nbob ends\n' | diff - "$TMPDIR/order" || {
    printf '%s\nthe %s run is out of order\n' "$output" "$run"
    exit 1
  }
  # Tokens rise from grant to grant.
  grep -Eo 'locked demo +token [0-9]+ +until' <<<"$output" | awk '{print $4}' >"$TMPDIR/tokens"
  [ "$(wc -l <"$TMPDIR/tokens")" = 4 ]
  sort -c -n -u "$TMPDIR/tokens"
  if compgen -G "$TMPDIR/driftlock-quickstart.*" >/dev/null; then
    echo "the $run run left its folder behind"
    exit 1
  fi
done
printf '%s\n' "$output"
