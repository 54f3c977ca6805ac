"""One bench from a program to a report: make the cases, time them in turns, add up."""

from gpt_jax.benchmarks import peaks, report, timing, torch_gpt2, workload
from gpt_jax.core.errors import ConfigError, DataError


def run(
  program, shapes, entries, *, num_ids, workdir, rounds, peer_dtype=None,
  peak_size=None, progress=iter,
):  # fmt: skip
  """Returns the report.Report of a Program.

  Args:
    shapes: its batch as ShapeDtypeStructs by name.
    entries: `{name: entry}` out of benchmarks.CASES, or of their kind. One that refuses
      the config is skipped with its reason; if it is the only one, the error is raised.
    num_ids: ids that may stand in a text.
    workdir: a folder for tokenizer and token cache.
    peer_dtype: times transformers' GPT-2 in that dtype beside it; None: alone.
    peak_size: as `peaks.cases` takes it.
    progress: as `timing.measure` takes it.
  """
  dtype = program.config.model.dtype
  device = report.describe_device(dtype)
  timed = workload.make(program, shapes, num_ids=num_ids, workdir=workdir)
  cases = peaks.cases(dtype, peak_size)
  if peer_dtype:  # first, while parameters are those that both begin with
    cases += torch_gpt2.cases(timed, list(entries), peer_dtype)
  for name, entry in entries.items():
    cases += _made(entry, name, timed, alone=len(entries) == 1)
  seconds, skipped = timing.measure(
    timing.in_pairs(cases, torch_gpt2.PREFIX),
    rounds,
    progress=progress,
    min_seconds=timing.MIN_SECONDS,
  )
  return report.make(
    cases,
    seconds,
    skipped,
    rounds=rounds,
    device=device,
    run=report.describe_run(timed),
    first_loss=timed.first_loss,
    peer=torch_gpt2.describe(peer_dtype) if peer_dtype else None,
  )


def _made(entry, name, timed, *, alone):
  try:
    return entry(timed)
  except (ConfigError, DataError) as error:
    if alone:
      raise
    return [timing.Skipped(name, str(error))]
