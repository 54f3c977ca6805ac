"""The updates of a LoRA run layer by layer, out of its parameters and back into them.

What files of others, sums of adapters and other forms of a model (scanned or unrolled
layers) work on: an Update for each linear map of the unrolled model.
"""

import collections
import dataclasses
import re

import numpy as np

from gpt_jax.config.schema import PeftConfig
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import dora, linears, lora, pissa
from gpt_jax.peft.low_rank import LORA_A, LORA_B


@dataclasses.dataclass(frozen=True)
class Update:
  """`scale * a b` of a kernel, float32; with `magnitude` the DoRA of it."""

  a: np.ndarray  # [inputs..., r]
  b: np.ndarray  # [r, outputs...]
  scale: float
  magnitude: np.ndarray | None = None  # [outputs...]

  @property
  def rank(self):
    return self.a.shape[-1]

  def product(self):
    """Returns the update as a matrix [inputs, outputs], float32."""
    a, b = self.a.reshape(-1, self.rank), self.b.reshape(self.rank, -1)
    return np.float32(self.scale) * (a @ b)


def unrolled(linear):
  """Returns the LinearMaps of single layers that a LinearMap is."""
  if not linear.stack:
    return [linear]
  rest = linear.path.removeprefix('layers/')
  return [
    dataclasses.replace(
      linear, path=f'layers_{i}/{rest}', shape=linear.shape[1:], axes=linear.axes[1:]
    )
    for i in range(linear.stack[0])
  ]


def names(config):
  """Returns the parameters that `read` takes of a Config with peft.name='lora'."""
  options, found = config.peft.options, []
  for linear in linears.choose(config.model, options.targets, 'peft.options.targets'):
    found += [f'{linear.path}/{name}' for name in _leaf_names(options)]
  return found


def read(config, leaves):
  """Returns {path: Update} of the unrolled model from {name: array} of a LoRA run.

  What PiSSA starts from is taken off: the rank doubles.
  """
  options = config.peft.options
  targets = linears.choose(config.model, options.targets, 'peft.options.targets')
  ranks, found = lora.ranks_of(targets, options), {}
  for linear in targets:
    scale = lora.scale_of(ranks[linear.path], options.alpha, options.rank_stabilized)
    arrays = {
      name: np.asarray(leaves[f'{linear.path}/{name}'], np.float32)
      for name in _leaf_names(options)
    }
    for i, one in enumerate(unrolled(linear)):
      mine = {
        name: array[i] if linear.stack else array for name, array in arrays.items()
      }
      found[one.path] = _update(mine, scale)
  return found


def _leaf_names(options):
  more = [pissa.START_A, pissa.START_B] if options.init == 'pissa' else []
  return [LORA_A, LORA_B, *more, *([dora.MAGNITUDE] if options.dora else [])]


def _update(arrays, scale):
  a, b = arrays[LORA_A], arrays[LORA_B]
  if pissa.START_A in arrays:
    a = np.concatenate([a, arrays[pissa.START_A]], -1)
    b = np.concatenate([b, -arrays[pissa.START_B]], 0)
  return Update(a, b, scale, arrays.get(dora.MAGNITUDE))


def write(config, updates, **options):
  """Returns (Config, {name: float32 array}) of a LoRA run with these Updates.

  Args:
    config: of the plain model, or of a run whose peft section is replaced.
    updates: {path: Update} of the unrolled model; all with magnitudes, or none.
    options: of `peft.options`, but for rank, targets and those that follow; alpha is
      the rank by default. With other scales than theirs factors B are multiplied.
  Layers are unrolled (model.scan_layers=False) where they differ in targets or ranks.
  """
  ranks = {
    one.path: _within(one, updates[one.path]).rank
    for linear in linears.find(config.model)
    for one in unrolled(linear)
    if one.path in updates
  }
  config = in_form_for(config, ranks)
  everywhere = linears.find(config.model)
  chosen = [one for one in everywhere if unrolled(one)[0].path in updates]
  parts = {
    one.path: [_within(one, updates[each.path]) for each in unrolled(one)]
    for one in chosen
  }
  ranks = {path: each[0].rank for path, each in parts.items()}
  options |= dict(
    rank=collections.Counter(ranks.values()).most_common(1)[0][0],
    targets=pattern_of(parts, [one.path for one in everywhere]),
    dora=next(iter(updates.values())).magnitude is not None,
  )
  options['rank_pattern'] = _rank_pattern(ranks, options['rank'])
  options.setdefault('alpha', float(options['rank']))
  section = lora.LoraOptions(**options)
  leaves = {}
  for linear in chosen:
    rank = ranks[linear.path]
    scale = lora.scale_of(rank, section.alpha, section.rank_stabilized)
    leaves |= _leaves(linear, parts[linear.path], scale)
  peft = PeftConfig(name='lora', options=section, base_storage='as_is', init_from='')
  return dataclasses.replace(config, peft=peft), leaves


def _leaves(linear, parts, scale):
  """Returns the parameters of a linear map, or of a stack of one a layer."""
  arrays = {
    LORA_A: [part.a for part in parts],
    LORA_B: [part.b * np.float32(part.scale / scale) for part in parts],
  }
  if parts[0].magnitude is not None:
    arrays[dora.MAGNITUDE] = [part.magnitude for part in parts]
  return {
    f'{linear.path}/{name}': np.stack(each) if linear.stack else each[0]
    for name, each in arrays.items()
  }


def in_form_for(config, kinds):
  """Returns `config`, with unrolled layers where those of a stack differ.

  `kinds`: {path of a linear map of the unrolled model: what has to be equal}.
  """
  for linear in linears.find(config.model):
    if len({kinds.get(one.path) for one in unrolled(linear)}) > 1:
      model = dataclasses.replace(config.model, scan_layers=False)
      return dataclasses.replace(config, model=model)
  return config


def _within(linear, update):
  """Returns `update`, of no more than full rank: as the product and an identity."""
  inputs, outputs = linear.fan_in, linear.fan_out
  if update.rank <= min(inputs, outputs):
    return update
  product = update.product() / np.float32(update.scale)
  a, b = np.eye(inputs, dtype=np.float32), product
  if outputs < inputs:
    a, b = product, np.eye(outputs, dtype=np.float32)
  return dataclasses.replace(
    update,
    a=a.reshape(*linear.sizes(linear.contracted), -1),
    b=b.reshape(-1, *linear.sizes(linear.kept)),
  )


def pattern_of(paths, everywhere):
  """Returns a regular expression that finds `paths` among `everywhere`, and no more."""
  paths = set(paths)
  last = sorted({path.rpartition('/')[2] for path in paths})
  short = f'/({"|".join(last)})$'
  if {path for path in everywhere if re.search(short, path)} == paths:
    return short
  return f'^({"|".join(sorted(paths))})$'


def _rank_pattern(ranks, most):
  """Returns `peft.options.rank_pattern` of {path: rank}, but for those of `most`."""
  by_rank = {}
  for path, rank in ranks.items():
    if rank != most:
      by_rank.setdefault(rank, []).append(path)
  found = {pattern_of(paths, list(ranks)): rank for rank, paths in by_rank.items()}
  return found or None


def require_lora(config, place):
  """Raises ConfigError for the config of a run that is no LoRA."""
  if config.peft.name != 'lora':
    raise ConfigError(
      f'{place}: peft.name={config.peft.name!r}; expected a run with peft.name="lora".'
    )
