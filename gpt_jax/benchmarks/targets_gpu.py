"""What one GPU reaches, against the performance targets of the project.

    python -m gpt_jax.benchmarks.targets_gpu
    python -m gpt_jax.benchmarks.targets_gpu --rounds 9 --json

Attention: cuDNN (`fused`) beside `blockwise` and `dense`, causal, bfloat16, forward and
backward, heads of 64 and 128, 1024 to 16384 tokens. Training: GPT-2 with 124M and 1.5B
parameters, tokens a second, MFU, memory. Decoding: 1.5B in bfloat16, one text, as a
share of the memory bandwidth. Everything is timed by the functions of `gpt-jax bench`.
Without a GPU it says so and exits with 0; `--tiny` runs all of it in sizes for a CPU,
whose numbers mean nothing.
"""

import argparse
import dataclasses
import functools
import json
import sys
import tempfile

from gpt_jax.parallel import chips

KERNELS = ('fused', 'blockwise', 'dense')


@dataclasses.dataclass(frozen=True)
class Sizes:
  lengths: tuple[int, ...]
  heads: int
  head_dims: tuple[int, ...]
  training: dict[str, dict]  # name -> overrides of the config gpt2:NAME
  decoding: str
  peak: tuple[int, int] | None  # as of `peaks.cases`


FULL = Sizes(
  lengths=(1024, 2048, 4096, 8192, 16384),
  heads=16,
  head_dims=(64, 128),
  training={
    '124m': {'train.batch_size': 64, 'train.grad_accum': 1},
    '1558m': {'train.batch_size': 16, 'train.grad_accum': 1},
  },
  decoding='1558m',
  peak=None,
)
_SMALL = {
  'model.num_layers': 1, 'model.d_model': 16, 'model.num_heads': 2,
  'model.vocab_size': 128, 'data.seq_len': 32, 'train.batch_size': 2,
  'train.grad_accum': 1,
}  # fmt: skip
TINY = Sizes(
  lengths=(16, 32),
  heads=2,
  head_dims=(8,),
  training={'124m': _SMALL, '1558m': _SMALL},
  decoding='1558m',
  peak=(64, 4096),
)

TARGETS = {  # minima for one H200
  '124m tokens/s': 350_000,
  '1558m MFU of the published peak': 0.45,
  'decode share of the published bandwidth': 0.70,
}


def main(argv=None):
  options = _parse(argv)
  import jax

  if jax.default_backend() != 'gpu' and not options.tiny:
    print(
      f'skipped: no GPU here (jax found {jax.devices()[0].device_kind}); install the'
      ' extra `cuda` on a machine with one.'
    )
    return 0
  sizes = TINY if options.tiny else FULL
  # Attention last: its largest cases would set the peak of memory of the others.
  result = {
    'device': jax.devices()[0].device_kind,
    'training': {
      name: training(name, sizes, options.rounds) for name in sizes.training
    },
    'decoding': decoding(sizes, options.rounds),
    'attention': attention(sizes, options.rounds),
  }
  result['targets'] = compare(result)
  _show_targets(result)
  if options.json:
    print(json.dumps(result))
  return 0


def attention(sizes, rounds):
  """Returns `{case: TFLOP/s, or why it was skipped}`, and prints a table."""
  from gpt_jax.benchmarks import kernels, timing

  found = {}
  for head_dim in sizes.head_dims:
    cases = kernels.sweep(
      sizes.lengths,
      heads=sizes.heads,
      kv_heads=sizes.heads,
      head_dim=head_dim,
      dtype='bfloat16',
      kernels=KERNELS,
      passes=('both',),
    )
    seconds, skipped = timing.measure(cases, rounds, progress=_progress)
    for case in cases:
      if case.name in seconds:
        median = timing.spread(seconds[case.name]).median
        found[f'{head_dim}/{case.name}'] = case.flops / median / 1e12
    found |= {f'{head_dim}/{each.name}': each.reason for each in skipped}
    _show_attention(sizes, head_dim, found)
  return found


def training(name, sizes, rounds):
  """Returns the metrics of the training step of gpt2:NAME on one device."""
  from gpt_jax.benchmarks import training as cases

  return _bench(name, sizes, {'step': cases.step}, 'step', rounds)


def decoding(sizes, rounds):
  from gpt_jax.benchmarks import decoding as cases

  entry = functools.partial(cases.cases, batch_sizes=(1,), beside_float32=False)
  return _bench(sizes.decoding, sizes, {'decode': entry}, 'decode_1', rounds)


def compare(result):
  """Returns `{metric: (value or None, target)}` from the results of the parts."""
  small, large = result['training']['124m'], result['training']['1558m']
  published = large.get('published_tflops')
  mfu = large['tflops'] / published if published and 'tflops' in large else None
  chip = chips.of_kind(result['device'])
  bandwidth = chip and chip.hbm_bandwidth
  rate = result['decoding'].get('gb_per_second')
  values = (
    small.get('tokens_per_second'),
    mfu,
    1e9 * rate / bandwidth if bandwidth and rate else None,
  )
  return {
    metric: (value, target)
    for (metric, target), value in zip(TARGETS.items(), values, strict=True)
  }


def _bench(name, sizes, entries, case, rounds):
  """Returns the metrics of `case` and of its run, and prints them."""
  import jax

  from gpt_jax.benchmarks import session, timing
  from gpt_jax.config.files import load_file
  from gpt_jax.parallel.mesh import make_mesh
  from gpt_jax.planning import inputs
  from gpt_jax.program import setup
  from gpt_jax.program.build import build_program
  from gpt_jax.tracking import console

  values = load_file(f'gpt2:{name}')
  config = setup.resolve(values, sizes.training[name])
  vocab = inputs.vocabulary(config)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = build_program(config, vocab=vocab, mesh=mesh)
  try:
    with tempfile.TemporaryDirectory() as folder:
      report = session.run(
        program,
        inputs.abstract_batch(program),
        entries,
        num_ids=vocab.size,
        workdir=folder,
        rounds=rounds,
        peak_size=sizes.peak,
        progress=_progress,
      )
  except RuntimeError as error:  # not even the parameters fit
    print(f'gpt2 {name}: {case}: skipped: {timing.out_of_memory(error)}')
    return {'skipped': timing.out_of_memory(error)}
  if case not in report.cases:
    found = {'skipped': report.skipped.get(case, 'not measured')}
  else:
    found = dataclasses.asdict(report.cases[case]) | report.peaks
    found['device_peak_gib'] = report.peak_memory_gib
    del found['rounds_ms']
  shown = [
    (key, value if isinstance(value, int | str) else f'{value:,.4g}')
    for key, value in found.items()
    if value is not None
  ]
  console.table(f'gpt2 {name}: {case}', ('metric', 'value'), shown)
  return found


def _progress(cases):
  from gpt_jax.tracking import console

  return console.progress(cases, 'measuring')


def _show_attention(sizes, head_dim, found):
  from gpt_jax.tracking import console

  def cell(kernel, T):
    value = found[f'{head_dim}/attention/{kernel}/{T}/both']
    return value if isinstance(value, str) else f'{value:,.4g}'

  console.table(
    f'attention, heads of {head_dim}, forward and backward, TFLOP/s',
    ('tokens', *KERNELS),
    [(f'{T:,}', *(cell(kernel, T) for kernel in KERNELS)) for T in sizes.lengths],
  )


def _show_targets(result):
  from gpt_jax.tracking import console

  rows = []
  for metric, (value, target) in result['targets'].items():
    outcome = 'unknown'
    if value is not None:
      outcome = 'met' if value >= target else f'missed: {value / target:.2f} of it'
    shown = 'none' if value is None else f'{value:,.4g}'
    rows.append((metric, shown, f'{target:,}', outcome))
  columns = ('metric', 'value', 'target', '')
  console.table(f'performance targets on {result["device"]}', columns, rows)


def _parse(argv):
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.benchmarks.targets_gpu',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--rounds', type=int, default=7, metavar='N', help='default: 7')
  parser.add_argument('--json', action='store_true', help='one object on the last line')
  parser.add_argument(
    '--tiny', action='store_true', help='sizes for a CPU: a rehearsal'
  )
  return parser.parse_args(argv)


if __name__ == '__main__':
  sys.exit(main())
