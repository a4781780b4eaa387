#!/usr/bin/env bash
# The GPU tests, then the table of docs/devices.md: at most eight minutes, installs included.
#
# Usage: tests/device/check.sh [PYTHON]
#
# A Python that has torch with CUDA and the other packages is used as it is. Otherwise an environment
# is made: on top of its torch if that sees the GPU, else with a torch from the index. Without a
# network give the wheels of the missing packages: CIRCUITKIT_WHEELS=FOLDER tests/device/check.sh.
# CIRCUITKIT_DEVICE=cpu tries the script itself on a machine without a GPU, at a small scale.
set -u
cd "$(dirname "$0")/../.." || exit 2
python=${1:-python3}
device=${CIRCUITKIT_DEVICE:-cuda}
environment=${TMPDIR:-/tmp}/circuitkit-device-check
end=$((SECONDS + 480))

left() { echo $((end > SECONDS ? end - SECONDS : 1)); }
sees_device() { "$1" -c "import sys, torch; sys.exit('$device' != 'cpu' and not torch.cuda.is_available())"; }
has_packages() { PYTHONPATH=$PWD "$1" -c 'import beartype, hypothesis, pytest, circuitkit.validation, circuitkit.training, circuitkit.cli'; }

install() { # the environment's pip, from the folder of wheels where one is given
    local from=()
    [ -n "${CIRCUITKIT_WHEELS:-}" ] && from=(--no-index --find-links "$CIRCUITKIT_WHEELS")
    timeout "$(left)" "$environment/bin/python" -m pip install --quiet "${from[@]}" "$@"
}

if ! { sees_device "$python" && has_packages "$python"; } 2>/dev/null; then
    rm -rf "$environment"
    "$python" -m venv "$environment" || exit 2
    if sees_device "$python" 2>/dev/null; then # its packages are looked up behind the environment's
        "$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' \
            >"$(echo "$environment"/lib/python3*/site-packages)/behind.pth"
    else
        install torch
    fi
    install --no-build-isolation hatchling && install --no-build-isolation --editable . pytest hypothesis beartype
    python=$environment/bin/python
fi
if ! sees_device "$python"; then
    echo "check.sh: $python has no torch that sees a GPU; nothing was checked." >&2
    exit 2
fi
if ! has_packages "$python"; then
    echo "check.sh: $python lacks the package named above; give its wheel in CIRCUITKIT_WHEELS." >&2
    exit 2
fi

export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} CIRCUITKIT_DEVICE=$device PYTHONUNBUFFERED=1
scale=full
[ "$device" = cpu ] && scale=small
status=0
timeout "$(left)" "$python" -m pytest -q -rs tests/device || status=1
timeout "$(left)" "$python" tests/device/table.py --device "$device" --scale "$scale" || status=1
[ "$SECONDS" -ge "$end" ] && echo "check.sh: eight minutes are over; what is not printed was not run." >&2
exit $status
