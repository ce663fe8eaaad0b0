"""What every test gets: one thread a process, so that several workers share a small machine fairly."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("SPEECHREP_BACKEND", None)
os.environ.pop("SPEECHREP_SLURM", None)
