"""From a ConfigDict and overrides to a frozen Config, or one error with all problems.

A problem names field, value, expectation and the nearest valid name.
"""

import ast
import dataclasses
import math
import types
import typing

from ml_collections import ConfigDict

from gpt_jax.config.checks import CHECKS
from gpt_jax.config.migrate import RENAMED_FIELDS, RENAMED_VALUES
from gpt_jax.config.schema import Config, DataConfig
from gpt_jax.core.errors import ConfigError, Problem, require_none
from gpt_jax.core.registry import nearest

MAX_TEXT = 4096  # the longest path of Linux
_NESTED_DICTS = ('parallel.mesh', 'parallel.overrides', 'data.mixture', 'eval.sets')


def resolve(config, overrides=None, registries=None, rules=()):
  """Returns the frozen `Config` of a ConfigDict (or dict) plus dotted `overrides`.

  Args:
    config: a ConfigDict with every section of `configs/base.py`.
    overrides: `{'model.num_layers': 2}`; a string value is read by the field's type.
    registries: `{'attention.kernel': KERNELS}`: names that a field may take.
    rules: checks beside `checks.CHECKS`: `setup.RULES`.
  Raises ConfigError listing every problem found.
  """
  values = _plain(config.to_dict() if isinstance(config, ConfigDict) else config)
  problems = []
  for key, value in (overrides or {}).items():
    _override(values, key, value, problems)
  frozen = _build(Config, values, '', problems)
  if frozen is not None:
    problems += _combined_problems(frozen, registries or {}, rules, problems)
  if problems:
    lines = '\n'.join(f'  {problem}' for problem in problems)
    raise ConfigError(f'{len(problems)} problem(s) in the config:\n{lines}')
  return _fill_in(frozen)


def to_dict(config) -> dict[str, typing.Any]:
  """Returns a frozen `Config` as plain dicts and lists, ready for JSON."""
  return _plain(dataclasses.asdict(config), sequence=list)


def data_section(data, overrides, field) -> DataConfig:
  """Returns the DataConfig `data` with an eval set's or mixture part's overrides."""
  problems = []
  section = _data_section(data, overrides, field, problems)
  require_none(problems)
  assert section is not None, 'only an override can make a field of a DataConfig go'
  return section


def _data_section(data, overrides, field, problems):
  values, prefix = _plain(dataclasses.asdict(data)), f'{field}.'
  for key, value in overrides.items():
    if key != 'weight':
      _override(values, str(key), value, problems, cls=DataConfig, prefix=prefix)
  found = []
  section = _build(DataConfig, values, prefix, found)
  # What is wrong with an inherited value is a problem of the section `data`.
  mine = tuple(f'{prefix}{key}' for key in overrides)
  problems += [problem for problem in found if problem.field.startswith(mine)]
  return section


def _plain(value, sequence: type = tuple) -> typing.Any:
  if isinstance(value, (dict, ConfigDict)):
    return {key: _plain(item, sequence) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return sequence(_plain(item, sequence) for item in value)
  return value


def _override(values, key, value, problems, cls: type = Config, prefix=''):
  """Puts one dotted override into `values`, or adds to `problems` why it cannot."""
  *parents, last = key.split('.')
  node, dotted = values, ''
  for part in parents:
    dotted += part
    if not isinstance(node.get(part), dict):
      problems.append(_unknown(prefix + dotted, part, node))
      return
    node, dotted = node[part], dotted + '.'
  is_free = any(key.startswith(name + '.') for name in _NESTED_DICTS) and cls is Config
  if last not in node and not is_free:
    problems.append(
      _unknown(prefix + key, last, node, f'data.{key}' if prefix else key)
    )
    return
  if isinstance(value, str):
    value = _parse(value, _annotation(cls, key))
  node[last] = _plain(value)


def _unknown(dotted, name, node, field=None):
  """Returns the Problem of a name that `node` lacks; `field`: the same in `data`."""
  if new := RENAMED_FIELDS.get(field or dotted):
    is_part = field not in (None, dotted)  # there, data fields go without the `data.`
    new = new.removeprefix('data.') if is_part else new
    return Problem(dotted, f': renamed; it is {new} now')
  hint = nearest(name, node)
  known = (
    f'did you mean {hint!r}?' if hint else f'known here: {", ".join(sorted(node))}'
  )
  return Problem(dotted, f': unknown key; {known}')


def _annotation(cls, key):
  for part in key.split('.'):
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
    cls = hints.get(part)
  return cls


def _parse(text, annotation):
  """Returns `text` of the command line as a value of `annotation`, if it is one."""
  allowed = _alternatives(annotation)
  if type(None) in allowed and text in ('None', 'none', ''):
    return None
  if bool in allowed and text.lower() in ('true', 'false'):
    return text.lower() == 'true'
  if annotation is str:
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    if tuple in allowed:
      return tuple(part.strip() for part in text.split(','))
    return text
  if int in allowed and isinstance(value, float) and value.is_integer():
    return int(value)  # so that 1e9 tokens can be written as such
  if tuple in allowed and not isinstance(value, (tuple, list)):
    return (value,)
  return value


def _alternatives(annotation):
  """Returns the plain classes a value may have: `int | None` -> (int, NoneType)."""
  if isinstance(annotation, types.UnionType):
    parts = typing.get_args(annotation)
  else:
    parts = (annotation,)
  return tuple(typing.get_origin(part) or part for part in parts)


def _build(cls, values, prefix, problems):
  """Returns dataclass `cls` of nested dicts, None where fields lack; adds problems."""
  hints = typing.get_type_hints(cls)
  for name in values:
    if name not in hints:
      problems.append(_unknown(prefix + name, name, hints))
  built = {}
  for field in dataclasses.fields(cls):
    dotted, annotation = prefix + field.name, hints[field.name]
    if field.name not in values:
      problems.append(
        Problem(dotted, ': missing; start the config from configs/base.py')
      )
    elif dataclasses.is_dataclass(annotation):
      section = values[field.name]
      if isinstance(section, dict):
        built[field.name] = _build(annotation, section, dotted + '.', problems)
      else:
        problems.append(Problem(dotted, f'={section!r}: expected a section of fields'))
    else:
      built[field.name] = _checked(
        dotted, values[field.name], annotation, field, problems
      )
  return cls(**built) if len(built) == len(hints) else None


def _checked(dotted, value, annotation, field, problems):
  """Returns `value` in the field's type; adds what is wrong with its type or range."""
  allowed = _alternatives(annotation)
  if typing.Any in allowed:  # a check looks into those, where there is anything to know
    return value
  if float in allowed and type(value) is int and abs(value) < 2**63:
    value = float(value)
  if type(value) is tuple and tuple in allowed:
    (item,) = set(typing.get_args(annotation)) - {...}
    return tuple(
      _checked(f'{dotted}[{i}]', part, item, field, problems)
      for i, part in enumerate(value)
    )
  name = dotted.partition('[')[0]
  if isinstance(value, str) and (new := RENAMED_VALUES.get((name, value))):
    problems.append(Problem(name, f': {value!r} was renamed; it is {new!r} now'))
  elif text := _wrong_type(value, allowed) or _out_of_range(value, field.metadata):
    problems.append(Problem(dotted, text))
  return value


def _wrong_type(value, allowed):
  """Returns why `value` is of no type in `allowed`, None where it is."""
  if type(value) is int and abs(value) >= 2**63:
    return ': expected a number of at most 64 bits'
  # bool is an int to isinstance, but never what somebody means by a number.
  if type(value) not in allowed:
    expected = ' or '.join(t.__name__.replace('NoneType', 'None') for t in allowed)
    return f'={value!r}: expected {expected}, not {type(value).__name__}'
  if isinstance(value, float) and not math.isfinite(value):
    return f'={value!r}: expected a finite number'
  if isinstance(value, str) and (len(value) > MAX_TEXT or '\0' in value):
    return (
      f'={value[:40]!r}...: expected at most {MAX_TEXT} characters, none of them a zero'
      ' byte'
    )
  return None


def _out_of_range(value, limits):
  """Returns why `value` lies outside a field's `limits`, None where it does not."""
  if value is None or isinstance(value, dict):
    return None
  if 'choices' in limits and value not in limits['choices']:
    hint = nearest(value, limits['choices'])
    known = f'expected one of {", ".join(limits["choices"])}'
    return f'={value!r}: {known}' + (f'; did you mean {hint!r}?' if hint else '')
  if 'at_least' in limits and value < limits['at_least']:
    return f'={value!r}: expected at least {limits["at_least"]}'
  if 'at_most' in limits and value > limits['at_most']:
    return f'={value!r}: expected at most {limits["at_most"]}'
  if 'below' in limits and value >= limits['below']:
    return f'={value!r}: expected less than {limits["below"]}'
  if 'above' in limits and value <= limits['above']:
    return f'={value!r}: expected more than {limits["above"]}'
  return None


def _combined_problems(config, registries, rules, problems):
  """Returns problems that several fields make together, and names of no registry.

  A field with a problem of its own proves nothing about others: problems that name it
  are left out, and so is a check that fails on its value.
  """
  wrong = {problem.field.partition('[')[0] for problem in problems}
  found = []
  for check in (
    *CHECKS, *rules, lambda config: _unknown_names(config, registries), _data_problems,
  ):  # fmt: skip
    try:
      made = list(check(config))
    except (TypeError, ValueError, AttributeError, ArithmeticError):
      if not wrong:
        raise
      continue
    found += [one for one in made if not any(field in str(one) for field in wrong)]
  return found


def _unknown_names(config, registries):
  """Yields problems of fields that name an entry no registry has."""
  for dotted, registry in registries.items():
    section, _, name = dotted.partition('.')
    value = getattr(getattr(config, section), name)
    if value not in registry and ':' not in value:
      hint = nearest(value, registry)
      yield Problem(
        dotted,
        f'={value!r}: expected one of {", ".join(sorted(registry))} or'
        ' "package.module:attribute"' + (f'; did you mean {hint!r}?' if hint else ''),
      )


def _data_problems(config):
  """Returns problems of the data fields that eval sets and mixture parts change."""
  problems = []
  for field, parts in (
    ('eval.sets', config.eval.sets),
    ('data.mixture', config.data.mixture),
  ):
    for name, part in parts.items():
      if isinstance(part, dict):
        _data_section(config.data, part, f'{field}.{name}', problems)
  return problems


def _fill_in(config):
  """Returns `config` with each None that another field decides filled in."""
  model = config.model
  # GLU at equal parameters: 2/3 of 4d (Shazeer 2020), rounded up to fill vector lanes.
  gated_d_ff = -(-8 * model.d_model // 3 // 8) * 8
  model = dataclasses.replace(
    model,
    num_kv_heads=model.num_kv_heads or model.num_heads,
    head_dim=model.head_dim or model.d_model // model.num_heads,
    d_ff=model.d_ff or (gated_d_ff if model.is_gated else 4 * model.d_model),
    max_seq_len=model.max_seq_len or config.data.seq_len,
    embed_dropout=_default(model.embed_dropout, model.dropout),
    attention_dropout=_default(model.attention_dropout, model.dropout),
    residual_dropout=_default(model.residual_dropout, model.dropout),
  )
  data = dataclasses.replace(config.data, seed=_default(config.data.seed, config.seed))
  evaluation = dataclasses.replace(
    config.eval, batch_size=config.eval.batch_size or config.train.batch_size
  )
  return dataclasses.replace(config, model=model, data=data, eval=evaluation)


def _default(value, other):
  return other if value is None else value
