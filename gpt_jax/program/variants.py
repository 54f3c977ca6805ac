"""Which numbers of a program differ between the configs of a study.

The answer depends on the set of configs of one shape, not on their order or on which
of them runs first: a point has the same program in any process, and so the same bits.
"""

from gpt_jax.config import load
from gpt_jax.program import literals

ENOUGH_VALUES = 2  # of a number: where it stands in the program shows
MAX_MISSES = 3  # configs of a kind that are another program; the rest are taken for one
_FILLED_IN = ('model.vocab_size', 'model.remat')  # by a program
_UNREAD = (
  'seed', 'data.seed', 'data.path', 'data.options', 'data.cache_dir', 'init_from',
  'peft.init_from', 'logging', 'checkpoint', 'inference', 'tokenizer',
)  # fmt: skip
"""Fields and sections of a config that programs do not read."""


def shape_of(config):
  """Returns what decides the shapes of a run, and a little more, as a text."""
  model = {
    name: value
    for name, value in load.to_dict(config)['model'].items()
    if f'model.{name}' not in _FILLED_IN and not isinstance(value, float)
  }
  return repr(
    (model, config.train.batch_size, config.data.seq_len, config.optimizer.name)
  )


def by_shape(configs):
  """Returns {shape: {fields that programs read: Config}}, each in a fixed order."""
  found = {}
  for config in configs:
    key = tuple(sorted(_read_fields(config).items()))
    found.setdefault(shape_of(config), {})[key] = config
  return {
    shape: dict(sorted(group.items(), key=lambda item: repr(item[0])))
    for shape, group in found.items()
  }


def paths(group, structure, trace):
  """Returns the literals.Paths in which programs of a `structure` differ.

  Args:
    group: configs of one shape, of `by_shape`.
    trace: `Config -> literals.Traced`, or None for a config without such a program.
  As few are traced as show two values of every number.
  """
  seen, misses, found = {}, {}, []
  for key, config in group.items():
    numbers = {field: value for field, value in key if _is_number(value)}
    kind = tuple((field, _kind(value)) for field, value in key)
    is_new = not found or any(
      len(known := seen.get(field, ())) < ENOUGH_VALUES and value not in known
      for field, value in numbers.items()
    )
    if not is_new or misses.get(kind, 0) >= MAX_MISSES:
      continue
    traced = trace(config)
    if traced is None or traced.structure != structure:
      misses[kind] = misses.get(kind, 0) + 1
      continue
    misses[kind] = -len(group)  # never enough
    found.append(traced)
    for field, value in numbers.items():
      seen.setdefault(field, set()).add(value)
  return literals.differing(found) if found else ()


def _read_fields(config):
  """Returns {dotted field: text or number} of what programs read of a config."""
  found = {}

  def visit(prefix, value):
    if prefix in _UNREAD or prefix in _FILLED_IN:
      return
    if isinstance(value, dict) and value:
      for name, item in value.items():
        visit(f'{prefix}.{name}' if prefix else str(name), item)
    else:
      found[prefix] = value if _is_number(value) else repr(value)

  visit('', load.to_dict(config))
  return found


def _is_number(value):
  return type(value) in (int, float)


def _kind(value):
  """Returns what two values share that may stand in one program."""
  # What is zero is often left out of a program.
  return ('zero' if not value else 'number') if _is_number(value) else value
