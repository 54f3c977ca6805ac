"""SLURM: sbatch takes a script in which srun starts the processes of a run."""


def add_arguments(group):
  """Adds the flags that only this place has."""


def problems(description, args):
  """Returns what is wrong with the flags, a line each."""
  return []


def num_devices(description, args):
  """Returns how many devices a task has, or None."""
  return None


def dry_run(description, args):
  """Returns the script, and the call that submits it."""
  return ''


def launch(description, args):
  """Returns the exit code of the submission, or with --wait of the job."""
  return 0
