"""What this program says of a network: for the scripts that hold it against others."""

import re
import subprocess
import sys


def evaluate(program, checkpoint, folder, device):
    """Loss and accuracy on the test images, as `eval` prints them."""
    command = [program, "eval", checkpoint, "--data-dir", folder, "--device", device]
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.partition("\n")[0]
    match = re.fullmatch(r"Loss on test set:(\S+) Accuracy on test set: (\S+)", line)
    if not match:
        sys.exit(f"{command}: not a test line: {line!r}")
    return float(match[1]), float(match[2])
