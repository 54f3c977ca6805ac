"""Which batch, remat policy and mesh make the fastest step that fits?

Candidates are all combinations of the values of each axis. Arithmetic rules out those
that cannot fit or divide; of the rest the most promising of each remat policy are
compiled, up to a number of compilations, and ranked by the bounds of their plans.
"""

import collections
import dataclasses
import itertools
import shlex
from typing import Any

import jax

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import remat
from gpt_jax.optimizers import trainable
from gpt_jax.parallel.mesh import axis_sizes, make_mesh
from gpt_jax.planning import inputs
from gpt_jax.planning.plan import Plan, make_plan

# FLOPs of a step with recomputation over one without; policies not listed add little.
_RECOMPUTATION = {'none': 1.0, 'full': 4 / 3}
_OTHER_RECOMPUTATION = 1.05
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Row:
  overrides: dict[str, Any]  # fields of the config, dotted
  outcome: str  # 'fits', 'does not fit', 'refused', 'ruled out' or 'not compiled'
  reason: str = ''
  plan: Plan | None = None

  @property
  def flags(self):
    """Returns what to add to the command line for this candidate."""
    words = []
    for field, value in self.overrides.items():
      pairs = value.items() if isinstance(value, dict) else [(None, value)]
      for key, part in pairs:
        words.append(f'--config.{field}{f".{key}" if key else ""}={part}')
    return shlex.join(words)

  def to_dict(self):
    return dict(
      flags=self.flags,
      overrides=self.overrides,
      outcome=self.outcome,
      reason=self.reason,
      plan=self.plan and self.plan.to_dict(),
    )


def batches(config, topology):
  """Returns batch sizes around the config's own, in one microbatch each."""
  size = config.train.batch_size
  sizes = [size // 2, size, 2 * size, 4 * size]
  return [{'train.batch_size': n, 'train.grad_accum': 1} for n in sizes if n]


def remats(config, topology):
  return [{'model.remat': name} for name in ('none', *remat.POLICIES)]


def meshes(config, topology):
  """Returns the config's mesh, and splits of all devices over data, fsdp and tensor."""
  devices, slices = len(topology.devices), topology.num_slices
  given = axis_sizes(config.parallel.mesh, devices, slices)
  if given['sequence'] * given['expert'] > 1:
    return [{'parallel.mesh': given}]
  found = [given]
  for tensor in (1, 2, 4, 8):
    if devices % tensor or config.model.num_heads % tensor:
      continue
    rest = devices // tensor
    for data in (1, slices, rest):
      if rest % data == 0:
        sizes = dict(data=data, fsdp=rest // data, tensor=tensor)
        found.append(axis_sizes(sizes, devices))
  return [{'parallel.mesh': mesh} for mesh in _unique(found)]


def losses(config, topology):
  return [{'objective.loss': name} for name in ('fused', 'plain')]


def scans(config, topology):
  # Unrolled as well where that compiles in minutes.
  found = [{'model.scan_layers': True}]
  if config.model.num_layers <= 12:
    found.append({'model.scan_layers': False})
  return found


AXES = {
  'batch': batches,
  'remat': remats,
  'mesh': meshes,
  'loss': losses,
  'scan': scans,
}
"""Each entry: `(config, topology) -> [overrides]`."""
DEFAULT_AXES = ('batch', 'remat', 'mesh')


def search(resolve, topology, *, axes=DEFAULT_AXES, max_compiles=8, progress=None):
  """Returns the Rows of a search, the fastest that fits first.

  Args:
    resolve: overrides -> frozen Config; raises ConfigError.
    progress: (iterable of compiled rows, how many) -> iterable.
  """
  config = resolve({})
  sizes = state_sizes(config, topology)
  choices = [AXES[axis](config, topology) for axis in axes]
  rows, candidates = [], []
  for parts in itertools.product(*choices):
    overrides: dict[str, Any] = {}
    for part in parts:
      overrides |= part
    try:
      candidate = resolve(overrides)
    except ConfigError as error:
      rows.append(Row(overrides, 'refused', _short(error)))
      continue
    problem = impossible(candidate, topology, sizes)
    if problem:
      rows.append(Row(overrides, 'ruled out', problem))
    else:
      candidates.append((overrides, candidate))
  attempts = _Attempts(_by_promise(candidates, topology, sizes), topology, max_compiles)
  compiled = progress(attempts.rows(), attempts.total) if progress else attempts.rows()
  rows += [*compiled, *attempts.skipped]
  return sorted(rows, key=_rank)


@dataclasses.dataclass(frozen=True)
class StateSizes:
  """What a program keeps, the same for all candidates of a search."""

  parameters: int
  gib: float  # parameters, optimizer, average, references, gradients; all devices


def state_sizes(config, topology):
  """Returns the StateSizes of the program of `config`; nothing is allocated."""
  # On one device, with the kernel that every model can have: no size depends on them.
  whole = dict(data=1, fsdp=1, sequence=1, tensor=1, expert=1)
  config = dataclasses.replace(
    config,
    parallel=dataclasses.replace(config.parallel, mesh=whole),
    attention=dataclasses.replace(config.attention, kernel='dense'),
  )
  mesh = make_mesh(whole, topology.devices[:1])
  program = inputs.make_program(config, mesh)
  state = program.abstract_state
  trained = trainable.select(state.params, program.frozen)
  references = state.references, state.start
  kept = (state.params, state.opt_state, state.ema, references, trained)
  return StateSizes(pytree.count(program.parameters), pytree.size_bytes(kept) / _GIB)


def impossible(config, topology, sizes):
  """Returns why `config` cannot run on `topology`, by arithmetic, or ''."""
  model, mesh = config.model, _sizes(config, topology)
  shards = mesh['data'] * mesh['fsdp']
  rows = config.train.batch_size // config.train.grad_accum
  if rows % shards:
    return f'{rows} rows do not divide over {shards} data shards'
  sizes_of_tensor = {'num_kv_heads': model.num_kv_heads, 'd_ff': _mlp_width(model)}
  for name, size in sizes_of_tensor.items():
    if size % mesh['tensor']:
      return f'model.{name}={size} does not divide over tensor={mesh["tensor"]}'
  if model.d_model % mesh['fsdp']:
    return f'model.d_model={model.d_model} does not divide over fsdp={mesh["fsdp"]}'
  if topology.chip is None:
    return ''
  needed = _min_gib(config, mesh, rows // shards, sizes)
  hbm_gib = topology.chip.hbm_gib
  return f'needs more than {needed:.1f} of {hbm_gib} GiB' if needed > hbm_gib else ''


def _sizes(config, topology):
  return axis_sizes(config.parallel.mesh, len(topology.devices), topology.num_slices)


def _mlp_width(model):
  return 0 if model.block == 'attention_only' else model.d_ff


def _min_gib(config, mesh, rows, sizes):
  # What the program keeps, and the inputs of the layers; without remat also the inputs
  # of their matmuls.
  model = config.model
  state = sizes.gib / (mesh['fsdp'] * mesh['tensor'])
  width = model.d_model
  if model.remat == 'none':
    width += 3 * model.num_heads * model.head_dim + 2 * _mlp_width(model)
  itemsize = 4 if model.dtype == 'float32' else 2
  tokens = rows * config.data.seq_len / mesh['sequence']
  saved = model.num_layers * tokens * width / mesh['tensor'] * itemsize
  return state + saved / _GIB


def estimate(config, topology, parameters):
  """Returns tokens per second by arithmetic, good enough to order candidates only."""
  mesh = _sizes(config, topology)
  chip, model = topology.chip, config.model
  tokens = config.train.batch_size * config.data.seq_len
  flops_per_device = (
    6
    * parameters
    * tokens
    * _RECOMPUTATION.get(model.remat, _OTHER_RECOMPUTATION)
    / len(topology.devices)
  )
  if chip is None:
    return tokens / flops_per_device
  gathered = 3 * 2 * parameters / mesh['tensor'] * config.train.grad_accum
  reduced = 2 * 4 * parameters / (mesh['fsdp'] * mesh['tensor'])
  received = gathered * (mesh['fsdp'] > 1) + reduced * (mesh['data'] > 1)
  if mesh['tensor'] > 1:
    rows = tokens / (mesh['data'] * mesh['fsdp'])
    received += 4 * 2 * 2 * model.num_layers * rows * model.d_model
  compute = flops_per_device / chip.peak_flops
  return tokens / (compute + received / (chip.links * chip.link_bandwidth / 2))


def _by_promise(candidates, topology, sizes):
  """Returns candidates in the order to compile: the best of each remat policy first."""
  queues = collections.defaultdict(list)
  for overrides, config in candidates:
    queues[config.model.remat].append((overrides, config))
  for queue in queues.values():
    queue.sort(key=lambda pair: -estimate(pair[1], topology, sizes.parameters))
  rounds = itertools.zip_longest(*queues.values())
  return [pair for pairs in rounds for pair in pairs if pair is not None]


class _Attempts:
  def __init__(self, candidates, topology, max_compiles):
    self._candidates = candidates
    self._topology = topology
    self.total = min(max_compiles, len(candidates))
    self.skipped = []  # rows of those that were not compiled

  def rows(self):
    done, too_large = 0, {}
    for overrides, config in self._candidates:
      batch = config.train.batch_size // config.train.grad_accum
      rest = {k: v for k, v in overrides.items() if not k.startswith('train.')}
      if too_large.get(str(rest), batch + 1) <= batch:
        reason = 'a smaller batch, else the same, did not fit'
        self.skipped.append(Row(overrides, 'ruled out', reason))
      elif done == self.total:
        reason = f'over max_compiles={self.total}'
        self.skipped.append(Row(overrides, 'not compiled', reason))
      else:
        done += 1
        row = _compiled(overrides, config, self._topology)
        if row.outcome == 'does not fit':
          too_large[str(rest)] = min(batch, too_large.get(str(rest), batch))
        yield row


def _compiled(overrides, config, topology):
  try:
    plan = make_plan(config, topology)
  except ConfigError as error:
    return Row(overrides, 'refused', _short(error))
  except jax.errors.JaxRuntimeError as error:
    return Row(overrides, 'refused', f'the compiler: {_short(error)}')
  finally:
    jax.clear_caches()  # else each candidate's program stays in memory
  if plan.memory.fits:
    return Row(overrides, 'fits', plan=plan)
  short = plan.memory.short_gib
  reason = 'short' if short is None else f'short by {short:.2f} GiB or more'
  return Row(overrides, 'does not fit', reason, plan)


_ORDER = ('fits', 'does not fit', 'not compiled', 'refused', 'ruled out')


def _rank(row):
  time = row.plan.time if row.plan and row.outcome == 'fits' else None
  return _ORDER.index(row.outcome), -time.tokens_per_second_bound if time else 0


def _short(error):
  """Returns the last line of an error, which names the field."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return lines[-1][:160] if lines else type(error).__name__


def _unique(items):
  return [item for i, item in enumerate(items) if item not in items[:i]]
