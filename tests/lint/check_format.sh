#!/usr/bin/env bash
# Every C and C++ file is as clang-format leaves it. usage: check_format.sh TOP
set -euo pipefail
cd "$1"
if ! command -v clang-format >/dev/null; then
  echo 'skipped: clang-format is not installed (apt-get install clang-format)'
  exit 77
fi
mapfile -d '' files < <(find src hw bpf tools tests -type f \
  \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.c' \) -print0 | sort -z)
if ! report=$(clang-format --dry-run -Werror "${files[@]}" 2>&1); then
  echo 'not formatted (places, file): run clang-format -i on them'
  grep -E '^[^ ]+: error' <<<"$report" | cut -d: -f1 | sort | uniq -c
  exit 1
fi
echo "${#files[@]} files are formatted"
