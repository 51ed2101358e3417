"""Run a script, and print at its end the processor's seconds and its peak memory in MB.

    python bench/used.py scripts/visualize_results.py --results_dir results

Linux hands the peak of a process on to what it starts, so `ru_maxrss` of a small script that a large benchmark starts is
the benchmark's. VmHWM is the script's own.
"""

import resource
import runpy
import sys
from pathlib import Path


def peak() -> float:
    """Give the peak of this process's memory, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))  # as Python does for the script that it runs
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        print("used", used.ru_utime + used.ru_stime, peak())
