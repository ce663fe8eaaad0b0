# Where the jobs run that align, dump features, extract layers and make units (--nj at a time): `local`, here, or `slurm`.
# Training, decoding and scoring are never sent to Slurm: they run where run.sh does. On a cluster begin run.sh itself within
# an allocation (sbatch or srun), or train on several machines with srun and torchrun, as the README of the repository shows.

train_backend=local

# For slurm: submitit's names for sbatch options, time in minutes. Another example: "partition=gpu gpus_per_node=1 time=600".
slurm_options="partition=main time=120 mem=4GB"

export SPEECHREP_BACKEND=$train_backend SPEECHREP_SLURM=$slurm_options
