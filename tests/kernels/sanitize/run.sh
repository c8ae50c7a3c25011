#!/usr/bin/env bash
# The kernels under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer:
#
#     bash tests/kernels/sanitize/run.sh [address|thread ...]
#
# Builds the kernels with tests/kernels/sanitize/driver.cpp, which stands in for XLA, in a temporary folder,
# and runs that. Ends with an error on the first finding. Needs g++ or clang++ with the sanitizers'
# libraries, and a Python with jaxlib for XLA's headers (PYTHON=..., CXX=... choose others).
# KERNELS=FOLDER takes the kernels' sources from elsewhere.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kernels=${KERNELS:-$here/../../../src/sparl/kernels/cpp}
compiler=${CXX:-g++}
headers=$("${PYTHON:-python3}" -c \
    "import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec('jaxlib').origin).parent / 'include')")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

build_and_run() { # name, flags
    local name=$1 source flags objects=()
    shift
    printf '==> %s\n' "$name"
    mkdir "$folder/$name"
    for source in "$kernels"/*.cpp "$here/driver.cpp"; do
        flags=()
        case $(uname -m):$(basename "$source") in
            *:module.cpp) continue ;;
            x86_64:path_avx2.cpp) flags=(-mavx2 -mfma) ;;
            x86_64:path_avx512.cpp) flags=(-mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl) ;;
            *:path_avx*) continue ;;
        esac
        [ "$(uname -m)" != x86_64 ] || flags+=(-DSPARL_X86_PATHS)
        objects+=("$folder/$name/$(basename "$source").o")
        "$compiler" -std=c++17 -O1 -g -fno-omit-frame-pointer -ffp-contract=fast -Wall -Wextra -Wno-psabi \
            "$@" "${flags[@]}" -isystem "$headers" -I "$kernels" -c "$source" -o "${objects[-1]}"
    done
    "$compiler" "$@" "${objects[@]}" -pthread -o "$folder/$name/driver"
    timeout "${LIMIT:-600}" "$folder/$name/driver"
}

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
[ $# -gt 0 ] || set -- address thread
for wanted; do
    case $wanted in
        address) build_and_run address -fsanitize=address,undefined -fno-sanitize-recover=all ;;
        thread) build_and_run thread -fsanitize=thread ;;
        *) printf 'run.sh: address or thread, not %s\n' "$wanted" >&2; exit 2 ;;
    esac
done
printf 'nothing found\n'
