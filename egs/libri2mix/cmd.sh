# Where the parallel jobs of this recipe run: `local`, on this machine, or `slurm`.

train_backend=local

# For slurm: submitit's names for sbatch options, time in minutes. Another example: "partition=gpu gpus_per_node=1 time=600".
slurm_options="partition=main time=120 mem=4GB"

export SPEECHREP_BACKEND=$train_backend SPEECHREP_SLURM=$slurm_options
