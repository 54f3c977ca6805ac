"""Training of the last layers alone: `optimizer.train_last_layers`, N.

The last N layers train, the norm after them and the heads; with N = 0 the heads alone,
which is a linear probe of the pretrained features.
"""

from gpt_jax.core.errors import Problem
from gpt_jax.optimizers import depths


def frozen(count, names):
  """Returns those of the parameters `names` that do not train; none for None.

  A stack of layers, which `problems` refuses to cut, trains unless `count` is 0.
  """
  if count is None:
    return frozenset()
  if count == 0:
    return frozenset(name for name in names if not depths.HEADS.search(name))
  length = depths.cycle_length(names)
  layers = {name: _layer(name, length) for name in names}
  numbers = [number for number in layers.values() if number is not None]
  first = max(numbers, default=0) + 1 - count
  return frozenset(
    name
    for name, number in layers.items()
    if depths.EMBEDDINGS.search(name) or (number is not None and number < first)
  )


def _layer(name, length):
  """Returns the number of the layer that a parameter is of, None for the others."""
  place = depths.place(name)
  if place is None or place.group is None:
    return None
  return place.group * length + place.block


def problems(config):
  """Yields the Problems of a Config whose layers cannot be parted like this."""
  field = 'optimizer.train_last_layers'
  yield from problems_of(config.model, config.optimizer.train_last_layers, field)


def problems_of(cfg, count, field):
  """Yields the Problems of training the last `count` layers of a ModelConfig."""
  if count is None:
    return
  if count > cfg.num_layers:
    yield Problem(
      field,
      f'={count}: more than model.num_layers={cfg.num_layers}; expected at most that',
    )
  elif 0 < count < cfg.num_layers and cfg.scan_layers:
    yield Problem(
      field,
      f'={count}: the {cfg.num_layers} layers are one array for each parameter, which'
      ' trains as a whole; set model.scan_layers=False',
    )
