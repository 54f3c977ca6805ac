"""One run description, several places to start it: a file for each, and a line here.

Read `description` first. A place is a module with

  add_arguments(group)           the flags that it alone has, on an argparse group
  problems(description, args)    all that is wrong with them, a list of lines
  num_processes(description, args)  of a task
  num_devices(description, args) of a task, where that is known before; else None
  dry_run(description, args)     the text of what `launch` would do, exactly
  launch(description, args)      does it; returns the exit code
  HAS_OUR_FOLDERS                whether a folder of here is one of there

`args` are the parsed flags, `nodes` and `wait` among them. Before `launch`, nothing is
started or written and no network is asked, save for SLURM's limit on arrays; `problems`
looks for programs unless `args.dry_run`. `processes` starts and ends a run's processes
on this machine, `supervise` decides whether to start again, and `steps` are what
--dry_run shows and `launch` executes.
"""

from gpt_jax.launchers import gke, local, slurm, tpu_vm

PLACES = {
  'local': local,
  'slurm': slurm,
  'tpu_vm': tpu_vm,
  'gke': gke,
}
"""What `--where` of `gpt-jax launch` and `gpt-jax sweep` may be."""
