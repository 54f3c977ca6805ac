"""What a training step costs on TPUs that are not here, against the bars we set.

    python -m gpt_jax.benchmarks.targets_tpu
    python -m gpt_jax.benchmarks.targets_tpu --only 1 6 --json

Each row is a `gpt-jax plan` in a process of its own, compiled ahead of time (extra
`[plan]`; without libtpu it says so and ends with 0). Milliseconds are XLA's estimated
cycles over the chip's clock, without Pallas kernels and without the network; wire is
what a device receives in a step. All figures follow from the compiled text alone, so
they are the same on every machine with the same libtpu. docs/performance.md keeps the
last table and says where the bars come from.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Run:
  """A plan to be made: config and topology, and fields of the config."""

  config: str
  topology: str
  fields: tuple[str, ...] = ()

  @property
  def flags(self):
    """Returns the flags of `gpt-jax plan`."""
    fields = [f'--config.{field}' for field in self.fields]
    return [f'--config={self.config}', f'--topology={self.topology}', *fields]


_WHOLE = ('train.batch_size=32', 'train.grad_accum=1')
_LONG = ('train.batch_size=4', 'train.grad_accum=1', 'data.seq_len=8192',
         'model.max_seq_len=8192')  # fmt: skip
_NO_RAMP = ('train.ramp_start_batch_size=None', 'train.ramp_tokens=None')
# All layers dense, as the peers that the bars were measured on.
_DENSE = ("model.layer_pattern=('global',)",)
_SMALL, _LARGE = 'configs/gpt2.py:124m', 'configs/gpt3.py:6.7b'

RUNS = {
  '124M': Run(_SMALL, 'v5e:2x2', _WHOLE),
  '124M no remat': Run(_SMALL, 'v5e:2x2', (*_WHOLE, 'model.remat=none')),
  '124M unrolled': Run(_SMALL, 'v5e:2x2', (*_WHOLE, 'model.scan_layers=False')),
  '124M 8k': Run(_SMALL, 'v5e:2x2', _LONG),
  '124M blockwise': Run(
    _SMALL, 'v5e:2x2', (*_WHOLE, 'attention.kernel=blockwise')
  ),
  '124M dense': Run(_SMALL, 'v5e:2x2', (*_WHOLE, 'attention.kernel=dense')),
  '124M 8k blockwise': Run(_SMALL, 'v5e:2x2', (*_LONG, 'attention.kernel=blockwise')),
  '124M 8k dense': Run(_SMALL, 'v5e:2x2', (*_LONG, 'attention.kernel=dense')),
  '6.7B': Run(_LARGE, 'v5e:16x16', ('train.batch_size=256', *_DENSE, *_NO_RAMP)),
  '175B': Run('configs/gpt3.py:175b', 'v5p:8x8x8', ('train.batch_size=512', *_NO_RAMP)),
  'v4': Run(_SMALL, 'v4:2x2x1', _WHOLE),
  'v5p': Run(_SMALL, 'v5p:2x2x1', _WHOLE),
  'v6e': Run(_SMALL, 'v6e:2x2', _WHOLE),
  'tpu7x': Run(_SMALL, 'tpu7x:2x2x1', _WHOLE),
  'two slices': Run(
    _SMALL, '2xv5e:4x4', ('train.batch_size=256', 'train.grad_accum=1')
  ),
  'two slices of 4': Run(_SMALL, '2xv5e:2x2', _WHOLE),
  'two slices, as shipped': Run(_SMALL, '2xv5e:4x4'),
  # As shipped: small weights on many chips; two layers, dense and local, a turn.
  '350M, 64 chips': Run(
    'configs/gpt3.py:350m', 'v5e:8x8', ('train.batch_size=256', *_NO_RAMP)
  ),
  '6.7B, local layers': Run(
    _LARGE, 'v5e:16x16', ('train.batch_size=256', *_NO_RAMP)
  ),
  '6.7B, two slices': Run(
    _LARGE, '2xv5e:16x16', ('train.batch_size=512', *_DENSE, *_NO_RAMP)
  ),
}  # fmt: skip


# Each value is a function of {name of a run: its plan}.


def of(run, key):
  return lambda plans: plans[run][key]


def ratio(run, other, key):
  return lambda plans: plans[run][key] / plans[other][key]


def wire_gib(run, kinds=None):
  """Returns the GiB that a device receives in a step, of some kinds of collectives."""
  return lambda plans: (
    sum(
      size
      for kind, size in plans[run]['wire_bytes'].items()
      if not kinds or kind in kinds
    )
    / GIB
  )


def over_floor(run, key):
  """Returns cycles' time, or FLOPs, over what 6 N + causal attention need at peak."""
  return lambda plans: plans[run][key] / plans[run]['floor_' + key]


def not_asynchronous(run):
  """Returns the share of gathered bytes that nothing overlaps."""

  def value(plans):
    gathers = [c for c in plans[run]['collectives'] if 'all-gather' in c['kind']]
    whole = sum(c['wire_bytes'] for c in gathers)
    return sum(c['wire_bytes'] for c in gathers if not c['asynchronous']) / (whole or 1)

  return value


BARS = [
  # number, what, value, must
  ('1', '124M, ms', of('124M', 'compute_ms'), 87.0),
  ('1', '124M, GiB', of('124M', 'memory_gib_per_chip'), 2.6),
  ('1', '124M, kernel calls per layer', of('124M', 'kernel_calls_per_layer'), 3.0),
  ('1', '124M unrolled, ms', of('124M unrolled', 'compute_ms'), 87.0),
  ('1', '124M, ms of copies in attention', of('124M', 'attention_copies_ms'), 0.1),
  ('2', '124M, wire GiB', wire_gib('124M'), 0.60),
  ('2', '124M, permutes GiB', wire_gib('124M', ('collective-permute',)), 0.0),
  ('2', '124M, collectives in the loss loop', of('124M', 'loss_loop_collectives'), 0.0),
  ('3', '124M no remat, FLOPs over floor',
   over_floor('124M no remat', 'matmul_flops_per_chip'), 0.94),
  ('4', '124M, memory of 4 x 8192 over 32 x 1024',
   ratio('124M 8k', '124M', 'memory_gib_per_chip'), 1.15),
  ('5', '6.7B, ms over floor', over_floor('6.7B', 'compute_ms'), 1.42),
  ('5', '6.7B, GiB', of('6.7B', 'memory_gib_per_chip'), 1.9),
  ('5', '6.7B, wire GiB', wire_gib('6.7B'), 50.0),
  ('6', '175B, ms over floor', over_floor('175B', 'compute_ms'), 1.40),
  ('6', '175B, GiB', of('175B', 'memory_gib_per_chip'), 14.0),
  ('6', '175B, wire GiB', wire_gib('175B'), 500.0),
  ('6', '175B, GiB of this machine', of('175B', 'host_gib'), 2.0),
  ('7', 'blockwise over dense, ms at 1024',
   ratio('124M blockwise', '124M dense', 'compute_ms'), 0.80),
  ('7', 'blockwise over dense, ms at 8192',
   ratio('124M 8k blockwise', '124M 8k dense', 'compute_ms'), 0.75),
  *[
    ('8', f'{run}, gathered with nothing meanwhile', not_asynchronous(run), 0.0)
    for run in ('124M', '6.7B', '175B', 'v4', 'v5p', 'v6e', 'tpu7x', '350M, 64 chips',
                '6.7B, local layers', '6.7B, two slices')
  ],
  # What is allowed is no weight: XLA ends sums of biases' gradients with small gathers.
  *[
    ('8', f'{run}, gathered with nothing meanwhile', not_asynchronous(run), 0.0003)
    for run in ('two slices', 'two slices of 4', 'two slices, as shipped')
  ],
]  # fmt: skip


class NotPlanned(Exception):
  """A plan that ended with an error; the message is all that it printed."""


def make_plan(run):
  """Returns the plan of a Run with the floor of its step and what its text tells."""
  from gpt_jax.planning import topologies

  with tempfile.TemporaryDirectory() as folder:
    dump = pathlib.Path(folder, 'step.hlo')
    command = [sys.executable, '-m', 'gpt_jax', 'plan', *run.flags, '--json']
    done = subprocess.run(
      [*command, f'--dump_hlo={dump}'], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
      raise NotPlanned(f'{" ".join(command)}\n{done.stdout}{done.stderr}')
    plan = json.loads(done.stdout.splitlines()[-1])
    plan |= floor(run, plan)
    if plan['fits']:
      text, chip = dump.read_text(), topologies.parse(run.topology).chip
      plan['loss_loop_collectives'] = count_in_loss_loop(text)
      plan['attention_copies_ms'] = attention_copies_ms(text, chip.clock_hz)
  return plan


def floor(run, plan):
  """Returns FLOPs and ms of 6 N + causal attention on a device at its peak.

  N is 12 L D^2 + V D: matrices only, as for the peers that the bars come from.
  """
  from gpt_jax.config import load
  from gpt_jax.config.files import load_file
  from gpt_jax.planning import topologies

  values = load_file(run.config)
  fields = dict(field.split('=', 1) for field in run.fields)
  model = load.resolve(values, fields).model
  tokens = plan['tokens_per_step'] / plan['num_devices']
  layers, width = model.num_layers, model.d_model
  vocab = (
    -(-model.vocab_size // model.pad_vocab_to_multiple_of)
    * model.pad_vocab_to_multiple_of
  )
  context = tokens and plan['tokens_per_step'] / plan['batch_size']
  products = 6 * (12 * layers * width**2 + vocab * width)
  flops = tokens * (products + 6 * layers * width * context)
  chip = topologies.parse(run.topology).chip
  return {
    'floor_matmul_flops_per_chip': flops,
    'floor_compute_ms': 1e3 * flops / chip.peak_flops,
  }


def attention_copies_ms(text, clock_hz):
  """Returns what copies and transposes within attention take."""
  from gpt_jax.hlo import costs

  cycles = sum(
    count * op.cycles
    for op, count in costs.measure(text).ops
    if 'attention' in op.op_name and op.name.startswith(('copy', 'transpose'))
  )
  return 1e3 * cycles / clock_hz


def count_in_loss_loop(text):
  """Returns how many collectives the loop over the loss has; inf without a loop."""
  from gpt_jax.hlo import parser as hlo_text

  module = hlo_text.parse(text)
  kinds = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all')
  bodies = [
    module.computations[loop.attribute(r'body=%?([\w.\-]+)')].instructions.values()
    for computation in module.computations.values()
    for loop in computation.instructions.values()
    if loop.opcode == 'while'
  ]
  chunks = [
    body for body in bodies if any('fused_loss' in one.attributes for one in body)
  ]
  if not chunks:
    return math.inf
  return sum(one.opcode.startswith(kinds) for body in chunks for one in body)


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--only', nargs='+', metavar='N', help='numbers of bars')
  parser.add_argument('--json', action='store_true', help='also print one JSON object')
  args = parser.parse_args(argv)
  if importlib.util.find_spec('libtpu') is None:
    print("skipped: libtpu is not here; pip install -e '.[plan]'")
    return 0
  from gpt_jax.planning import topologies

  topologies.set_environment()
  from gpt_jax.tracking import console

  plans = Plans()
  rows, results = [], []
  for number, what, value, must in BARS:
    if args.only and number not in args.only:
      continue
    try:
      found = value(plans)
    except NotPlanned as error:
      print(error)
      found = math.nan
    met = found <= must * (1 + 1e-9)
    rows.append((number, what, f'{found:.4f}', f'{must:g}', 'yes' if met else 'NO'))
    results.append(dict(bar=number, what=what, value=found, must=must, met=met))
  console.table('bars on TPUs', ('bar', 'figure', 'value', 'must', 'met'), rows)
  if args.json:
    print(json.dumps(results))
  return 0


class Plans(dict):
  """Plans by the name of their run, made when first asked for."""

  def __missing__(self, name):
    print(f'{name}: gpt-jax plan {" ".join(RUNS[name].flags)}', flush=True)
    self[name] = make_plan(RUNS[name])
    return self[name]


if __name__ == '__main__':
  sys.exit(main())
