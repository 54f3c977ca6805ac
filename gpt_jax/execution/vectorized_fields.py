"""Which fields `--vectorize` may name: numbers that leave the shapes of a run alone."""

import dataclasses
from collections.abc import Mapping

import jax

from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs

_STAND_IN_IDS = 256  # of a tokenizer that data will make


def require_vectorizable(points, fields):
  """Raises one ConfigError with all that keeps `points` from training together.

  That is fields that are unknown or no numbers, those that change a shape, and runs
  over several devices.
  """
  problems = [problem for field in fields for problem in _of_field(points, field)]
  problems += dict.fromkeys(filter(None, map(_of_mesh, points)))
  if problems:
    listed = '\n  '.join(problems)
    raise ConfigError(f'--vectorize={",".join(fields)}:\n  {listed}\nNothing started.')


def _of_field(points, field):
  """Yields what is wrong with a field, the first thing only."""
  flat = [_flat(point.config) for point in points]
  if not all(field in one for one in flat):
    hint = nearest(field, flat[0])
    yield f'{field}: no such field' + (f'; did you mean {hint!r}?' if hint else '')
    return
  values = {one[field]: point for one, point in zip(flat, points, strict=True)}
  for value in values:
    if type(value) not in (int, float):
      yield f'{field}={value!r}: is no number, so it may choose other code'
      return
  if len(values) > 1 and field != 'seed':
    yield from _changed_shapes(next(iter(values.values())).config, field, values)


def _changed_shapes(config, field, values):
  shapes = _shapes(config)
  for value in values:
    try:
      others = _shapes(_with_field(config, field, value))
    except ConfigError as error:
      yield f'{field}={value!r}: {error}'
      return
    for name in shapes.keys() | others.keys():
      if shapes.get(name) != others.get(name):
        here, there = shapes.get(name, 'absent'), others.get(name, 'absent')
        yield f'{field}={value!r}: changes shapes, {name} from {here} to {there}'
        return


def _with_field(config, field, value):
  """Returns `config` with another value of `field`, a dotted name."""
  name, _, rest = field.partition('.')
  if isinstance(config, Mapping):  # options, sets
    return {**config, name: _with_field(config[name], rest, value) if rest else value}
  if rest:
    value = _with_field(getattr(config, name), rest, value)
  return dataclasses.replace(config, **{name: value})


def _shapes(config):
  """Returns the shapes of state and batches of a run, by name; reads no data."""
  mesh = make_mesh(config.parallel.mesh, jax.local_devices()[:1])
  try:
    program = inputs.make_program(config, mesh)
  except ConfigError:  # only its data say how many ids there are
    model = dataclasses.replace(config.model, vocab_size=_STAND_IN_IDS)
    program = inputs.make_program(dataclasses.replace(config, model=model), mesh)
  found = {
    name: list(leaf.shape) for name, leaf in pytree.named_leaves(program.abstract_state)
  }
  sizes = [stage.batch_size for stage in program.horizon.stages]
  return found | {'batch': [*sizes, config.data.seq_len]}


def _of_mesh(point):
  try:
    make_mesh(point.config.parallel.mesh, jax.local_devices()[:1])
  except ConfigError as error:
    return f'runs that train together have one device each; {error}'
  return None


def _flat(config):
  """Returns {dotted name: value} of all fields."""
  found = {}

  def visit(prefix, value):
    if isinstance(value, dict) and value:
      for key, item in value.items():
        visit(f'{prefix}.{key}' if prefix else key, item)
    else:
      found[prefix] = tuple(value) if isinstance(value, list) else value

  visit('', load.to_dict(config))
  return found
