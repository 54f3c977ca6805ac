"""Costs of training steps on TPUs that are not here, against performance targets.

    python -m gpt_jax.benchmarks.targets_tpu
    python -m gpt_jax.benchmarks.targets_tpu --only 1 6 --json

Each row is a `gpt-jax plan` in a process of its own, compiled ahead of time (extra
`plan`; without libtpu it says so and exits with 0). Milliseconds are XLA's estimated
cycles over the chip's clock, without Pallas kernels and without the network; wire bytes
are what a device receives in a step; minimal FLOPs are 6 N + causal attention. All
values follow from the compiled text, so they are the same on every machine with the
same libtpu. docs/performance.md has the last table.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from gpt_jax.parallel import chips

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class PlanRun:
  config: str
  topology: str
  fields: tuple[str, ...] = ()

  @property
  def flags(self):
    fields = [f'--config.{field}' for field in self.fields]
    return [f'--config={self.config}', f'--topology={self.topology}', *fields]


_BATCH_32 = ('train.batch_size=32', 'train.grad_accum=1')
_LONG = ('train.batch_size=4', 'train.grad_accum=1', 'data.seq_len=8192',
         'model.max_seq_len=8192')  # fmt: skip
_NO_RAMP = ('train.ramp_start_batch_size=None', 'train.ramp_tokens=None')
# All layers global, as the peers that the targets were measured on.
_GLOBAL = ("model.layer_pattern=('global',)",)
_SMALL, _LARGE = 'gpt2:124m', 'gpt3:6.7b'

RUNS = {
  '124M': PlanRun(_SMALL, 'v5e:2x2', _BATCH_32),
  '124M no remat': PlanRun(_SMALL, 'v5e:2x2', (*_BATCH_32, 'model.remat=none')),
  '124M unrolled': PlanRun(_SMALL, 'v5e:2x2', (*_BATCH_32, 'model.scan_layers=False')),
  '124M 8k': PlanRun(_SMALL, 'v5e:2x2', _LONG),
  '124M blockwise': PlanRun(
    _SMALL, 'v5e:2x2', (*_BATCH_32, 'attention.kernel=blockwise')
  ),
  '124M dense': PlanRun(_SMALL, 'v5e:2x2', (*_BATCH_32, 'attention.kernel=dense')),
  '124M 8k blockwise': PlanRun(
    _SMALL, 'v5e:2x2', (*_LONG, 'attention.kernel=blockwise')
  ),
  '124M 8k dense': PlanRun(_SMALL, 'v5e:2x2', (*_LONG, 'attention.kernel=dense')),
  '6.7B': PlanRun(_LARGE, 'v5e:16x16', ('train.batch_size=256', *_GLOBAL, *_NO_RAMP)),
  '175B': PlanRun('gpt3:175b', 'v5p:8x8x8', ('train.batch_size=512', *_NO_RAMP)),
  'v4': PlanRun(_SMALL, 'v4:2x2x1', _BATCH_32),
  'v5p': PlanRun(_SMALL, 'v5p:2x2x1', _BATCH_32),
  'v6e': PlanRun(_SMALL, 'v6e:2x2', _BATCH_32),
  'tpu7x': PlanRun(_SMALL, 'tpu7x:2x2x1', _BATCH_32),
  'two slices': PlanRun(
    _SMALL, '2xv5e:4x4', ('train.batch_size=256', 'train.grad_accum=1')
  ),
  'two slices of 4': PlanRun(_SMALL, '2xv5e:2x2', _BATCH_32),
  'two slices, as shipped': PlanRun(_SMALL, '2xv5e:4x4'),
  # As shipped: small weights on many chips; a global and a local layer an iteration.
  '350M, 64 chips': PlanRun(
    'gpt3:350m', 'v5e:8x8', ('train.batch_size=256', *_NO_RAMP)
  ),
  '6.7B, local layers': PlanRun(
    _LARGE, 'v5e:16x16', ('train.batch_size=256', *_NO_RAMP)
  ),
  '6.7B, two slices': PlanRun(
    _LARGE, '2xv5e:16x16', ('train.batch_size=512', *_GLOBAL, *_NO_RAMP)
  ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
  """A metric of one or two plans that must not exceed `limit`."""

  number: str
  metric: str
  value: Callable[[dict[str, dict[str, Any]]], float]
  """{name of a run: its plan} -> value."""
  limit: float


def value_of(run, key):
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


def over_minimum(run, key):
  """Returns FLOPs, or their time, over those of 6 N + causal attention at peak."""
  return lambda plans: plans[run][key] / plans[run]['minimal_' + key]


def synchronous_share(run):
  """Returns the share of gathered bytes that nothing overlaps."""

  def value(plans):
    gathers = [c for c in plans[run]['collectives'] if 'all-gather' in c['kind']]
    total = sum(c['wire_bytes'] for c in gathers)
    synchronous = sum(c['wire_bytes'] for c in gathers if not c['asynchronous'])
    return synchronous / (total or 1)

  return value


_MEMORY = 'memory_gib_per_chip'
# What two slices may gather is no weight: XLA ends sums of biases' gradients with small
# gathers.
_SYNCHRONOUS = {
  '124M': 0, '6.7B': 0, '175B': 0, 'v4': 0, 'v5p': 0, 'v6e': 0, 'tpu7x': 0,
  '350M, 64 chips': 0, '6.7B, local layers': 0, '6.7B, two slices': 0,
  'two slices': 0.0003, 'two slices of 4': 0.0003, 'two slices, as shipped': 0.0003,
}  # fmt: skip

TARGETS = [
  Target('1', '124M, ms', value_of('124M', 'compute_ms'), 87.0),
  Target('1', '124M, GiB', value_of('124M', _MEMORY), 2.6),
  Target(
    '1', '124M, kernel calls per layer', value_of('124M', 'kernel_calls_per_layer'), 3
  ),
  Target('1', '124M unrolled, ms', value_of('124M unrolled', 'compute_ms'), 87.0),
  Target(
    '1', '124M, ms of copies in attention', value_of('124M', 'attention_copies_ms'), 0.1
  ),
  Target('2', '124M, wire GiB', wire_gib('124M'), 0.60),
  Target('2', '124M, permutes GiB', wire_gib('124M', ('collective-permute',)), 0.0),
  Target(
    '2', '124M, collectives in the loss loop',
    value_of('124M', 'loss_loop_collectives'), 0,
  ),
  Target(
    '3', '124M no remat, FLOPs over minimum',
    over_minimum('124M no remat', 'matmul_flops_per_chip'), 0.94,
  ),
  Target(
    '4', '124M, memory of 4 x 8192 over 32 x 1024',
    ratio('124M 8k', '124M', _MEMORY), 1.15,
  ),
  Target('5', '6.7B, ms over minimum', over_minimum('6.7B', 'compute_ms'), 1.42),
  Target('5', '6.7B, GiB', value_of('6.7B', _MEMORY), 1.9),
  Target('5', '6.7B, wire GiB', wire_gib('6.7B'), 50.0),
  Target('6', '175B, ms over minimum', over_minimum('175B', 'compute_ms'), 1.40),
  Target('6', '175B, GiB', value_of('175B', _MEMORY), 14.0),
  Target('6', '175B, wire GiB', wire_gib('175B'), 500.0),
  Target('6', '175B, GiB of this machine', value_of('175B', 'host_gib'), 2.0),
  Target(
    '7', 'blockwise over dense, ms at 1024',
    ratio('124M blockwise', '124M dense', 'compute_ms'), 0.80,
  ),
  Target(
    '7', 'blockwise over dense, ms at 8192',
    ratio('124M 8k blockwise', '124M 8k dense', 'compute_ms'), 0.75,
  ),
  *[
    Target('8', f'{run}, synchronous share of gathers', synchronous_share(run), limit)
    for run, limit in _SYNCHRONOUS.items()
  ],
]  # fmt: skip


class PlanFailed(Exception):
  """A plan ended with an error; the message is its output."""


class Plans(dict):
  """{name of a run: its plan}, made at the first access."""

  def __missing__(self, name):
    print(f'{name}: gpt-jax plan {shlex.join(RUNS[name].flags)}', flush=True)
    self[name] = make_plan(RUNS[name])
    return self[name]


def make_plan(run):
  with tempfile.TemporaryDirectory() as folder:
    dump = pathlib.Path(folder, 'step.hlo')
    command = [sys.executable, '-m', 'gpt_jax', 'plan', *run.flags, '--json']
    done = subprocess.run(
      [*command, f'--dump_hlo={dump}'], capture_output=True, text=True
    )
    if done.returncode:
      raise PlanFailed(f'{" ".join(command)}\n{done.stdout}{done.stderr}')
    plan = json.loads(done.stdout.splitlines()[-1])
    plan |= minimal_cost(run, plan)
    if plan['fits']:
      text = dump.read_text()
      plan['loss_loop_collectives'] = count_in_loss_loop(text)
      plan['attention_copies_ms'] = attention_copies_ms(text, _chip(run).clock_hz)
  return plan


def _chip(run):
  slices_and_name, _, _ = run.topology.partition(':')
  return chips.TPUS[re.sub(r'^\d+x', '', slices_and_name)]


def minimal_cost(run, plan):
  """Returns FLOPs and ms of 6 N + causal attention on a device at its peak.

  N is 12 L D^2 + V D: matrices only, as for the peers that the targets come from.
  """
  from gpt_jax.config.files import load_file
  from gpt_jax.program import setup

  fields = dict(field.split('=', 1) for field in run.fields)
  config = setup.resolve(load_file(run.config), fields)
  model, multiple = config.model, config.model.pad_vocab_to_multiple_of
  vocab = -(-model.vocab_size // multiple) * multiple
  layers, width = model.num_layers, model.d_model
  per_token = 6 * (12 * layers * width**2 + vocab * width)
  per_token += 6 * layers * width * config.data.seq_len
  flops = plan['tokens_per_step'] / plan['num_devices'] * per_token
  return {
    'minimal_matmul_flops_per_chip': flops,
    'minimal_compute_ms': 1e3 * flops / _chip(run).peak_flops,
  }


def attention_copies_ms(text, clock_hz):
  """Returns the time of copies and transposes within attention."""
  from gpt_jax.hlo import costs

  cycles = sum(
    count * op.cycles
    for op, count in costs.measure(text).ops
    if 'attention' in op.op_name and op.name.startswith(('copy', 'transpose'))
  )
  return 1e3 * cycles / clock_hz


def count_in_loss_loop(text):
  """Returns how many collectives the loop over the loss has; inf without a loop."""
  from gpt_jax.hlo import parser

  module = parser.parse(text)
  kinds = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all')
  names = [
    name
    for computation in module.computations.values()
    for loop in computation.instructions.values()
    if loop.opcode == 'while'
    for name in re.findall(r'body=%?([\w.\-]+)', loop.attributes)
  ]
  bodies = [list(module.computations[name].instructions.values()) for name in names]
  loss = [body for body in bodies if any('fused_loss' in i.attributes for i in body)]
  if not loss:
    return math.inf
  return sum(each.opcode.startswith(kinds) for body in loss for each in body)


def main(argv=None):
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.benchmarks.targets_tpu',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--only', nargs='+', metavar='N', help='numbers of targets')
  parser.add_argument('--json', action='store_true', help='also print one JSON object')
  args = parser.parse_args(argv)
  if importlib.util.find_spec('libtpu') is None:
    print("skipped: libtpu is not here; pip install -e '.[plan]'")
    return 0
  from gpt_jax.tracking import console

  plans = Plans()
  rows, results = [], []
  for target in TARGETS:
    if args.only and target.number not in args.only:
      continue
    try:
      value = target.value(plans)
    except PlanFailed as error:
      print(error)
      value = math.nan
    met = value <= target.limit * (1 + 1e-9)
    name, limit = (target.number, target.metric), target.limit
    rows.append((*name, f'{value:.4f}', f'{limit:g}', 'yes' if met else 'NO'))
    results.append(
      dict(target=name[0], metric=name[1], value=value, limit=limit, met=met)
    )
  columns = ('target', 'metric', 'value', 'limit', 'met')
  console.table('performance targets on TPUs', columns, rows)
  if args.json:
    print(json.dumps(results))
  return 0


if __name__ == '__main__':
  sys.exit(main())
