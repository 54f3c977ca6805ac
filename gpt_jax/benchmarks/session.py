"""One bench: make the cases of a program, time them in rounds, report."""

from gpt_jax.benchmarks import peaks, report, timing, torch_gpt2
from gpt_jax.benchmarks.workload import make_workload
from gpt_jax.core.errors import ConfigError, DataError


def run(
  program, shapes, entries, *, num_ids, workdir, rounds, peer_dtype=None,
  peak_size=None, progress=iter,
):  # fmt: skip
  """Returns the BenchReport of a Program.

  Args:
    shapes: its batch as ShapeDtypeStructs by name.
    entries: `{name: entry}` as in benchmarks.CASES. One that refuses the config is
      skipped with its reason; if it is the only one, the error is raised.
    peer_dtype: also times transformers' GPT-2 in that dtype.
    peak_size, progress: as of `peaks.cases` and `timing.measure`.
  """
  dtype = program.config.model.dtype
  device = report.describe_device(dtype)
  workload = make_workload(program, shapes, num_ids=num_ids, workdir=workdir)
  cases = peaks.cases(dtype, peak_size)
  if peer_dtype:  # first, while the parameters are the initial ones
    cases += torch_gpt2.cases(workload, list(entries), peer_dtype)
  for name, entry in entries.items():
    cases += _cases_of(entry, name, workload, alone=len(entries) == 1)
  seconds, skipped = timing.measure(
    timing.in_pairs(cases, torch_gpt2.PREFIX),
    rounds,
    progress=progress,
    min_seconds=timing.MIN_SECONDS,
  )
  return report.make_report(
    cases,
    seconds,
    skipped,
    rounds=rounds,
    device=device,
    run=report.describe_run(workload),
    first_loss=workload.first_loss,
    peer=torch_gpt2.describe(peer_dtype) if peer_dtype else None,
  )


def _cases_of(entry, name, workload, *, alone):
  try:
    return entry(workload)
  except (ConfigError, DataError) as error:
    if alone:
      raise
    return [timing.Skipped(name, str(error))]
