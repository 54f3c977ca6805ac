"""The door between ConfigDicts and the library: read, override, check, freeze.

All problems of a config are reported together, each with field, value, expectation and
the nearest valid name, and no device is touched before that.
"""

import ast
import dataclasses
import math
import os
import pathlib
import re
import runpy
import sys
import traceback
import types
import typing

from ml_collections import ConfigDict

from gpt_jax.config.checks import CHECKS
from gpt_jax.config.migrate import RENAMED_FIELDS, RENAMED_VALUES
from gpt_jax.config.schema import Config, DataConfig
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

MAX_TEXT = 4096  # the longest path of Linux
_NESTED_DICTS = ('parallel.mesh', 'parallel.overrides', 'data.mixture', 'eval.sets')


def load_file(spec):
  """Returns the ConfigDict of `path/to/config.py[:argument]`.

  The folder above `configs/` is importable meanwhile, so a config file can start from
  `from configs import base` wherever the command is run.
  """
  path = spec.split(':')[0]
  if not os.path.isfile(path):
    beside = os.path.join(_repository_root(), path)
    if not os.path.isfile(beside):
      raise ConfigError(
        f'--config={spec}: no such file; expected a path to a .py file.'
      )
    spec = beside + spec[len(path) :]
  sys.path[:0] = [_repository_root()]
  path, *argument = spec.split(':', 1)
  try:
    module = runpy.run_path(path)
    if 'get_config' not in module:
      raise ConfigError('it defines no get_config(); see configs/base.py.')
    config = module['get_config'](*argument)
  except ConfigError as error:
    raise ConfigError(f'--config={spec}: {error}') from error
  except Exception as error:  # whatever the file's own code raises is for its author
    raise ConfigError(f'--config={spec}: {_cause(error, path)}') from error
  finally:
    sys.path.remove(_repository_root())
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f'--config={spec}: get_config() returned {type(config).__name__}; expected a'
      ' ConfigDict that starts from configs/base.py.'
    )
  return config.lock()


def resolve(config, overrides=None, tables=None):
  """Returns the frozen `Config` of a ConfigDict (or dict) plus dotted `overrides`.

  Args:
    config: a ConfigDict with every section of `configs/base.py`.
    overrides: `{'model.num_layers': 2}`; a string value is read by the field's type.
    tables: `{'attention.kernel': KERNELS}`: names that a field may take.
  Raises ConfigError listing every problem found.
  """
  values = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
  values = _plain(values)
  problems = []
  for key, value in (overrides or {}).items():
    _override(values, key, value, problems)
  frozen = _build(Config, values, '', problems)
  if frozen is not None:
    problems += _combined_problems(frozen, tables or {}, problems)
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
  result = _data_section(data, overrides, field, problems)
  if result is None or problems:
    raise ConfigError('\n'.join(problems))
  return result


def _data_section(data, overrides, field, problems):
  values = _plain(dataclasses.asdict(data))
  for key, value in overrides.items():
    if key != 'weight':
      _override(values, str(key), value, problems, cls=DataConfig, prefix=f'{field}.')
  return _build(DataConfig, values, f'{field}.', problems)


def _repository_root():
  return str(pathlib.Path(__file__).resolve().parents[2])


def _cause(error, path):
  """Returns what went wrong in the config file at `path`, and on which line."""
  text = str(error.args[0]) if error.args else ''
  # ml_collections prints all fields of the section between the two useful sentences.
  text = re.sub(r'Other fields present: ".*?}"', '', text, flags=re.DOTALL)
  text = ' '.join(text.replace(r'\n', ' ').split())
  text = re.sub(r"^'(.*)'$", r'\1', text)  # str(KeyError) is a repr
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == path]
  if isinstance(error, SyntaxError):
    lines = [error.lineno]
  place = f' (line {lines[-1]})' if lines else ''
  if frames and 'ml_collections' in frames[-1].filename:
    name = re.search(r'["\'](\w+)["\']', str(error))
    for old, new in RENAMED_FIELDS.items():
      if name and old.endswith(f'.{name[1]}'):
        return f'{old}: renamed; it is {new} now{place}'
  return f'{type(error).__name__}: {text}{place}'


def _plain(value, sequence: type = tuple) -> typing.Any:
  if isinstance(value, (dict, ConfigDict)):
    return {key: _plain(item, sequence) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return sequence(_plain(item, sequence) for item in value)
  return value


def _override(values, key, value, problems, cls: type = Config, prefix=''):
  """Puts one dotted override into `values` in place, or notes why it cannot."""
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
    problems.append(_unknown(prefix + key, last, node, 'data.' * bool(prefix)))
    return
  if isinstance(value, str):
    value = _parse(value, _annotation(cls, key))
  node[last] = _plain(value)


def _unknown(dotted, name, node, section=''):
  """Returns the problem of a name that is not in `node`, the fields of `section`."""
  if new := RENAMED_FIELDS.get(section + name if section else dotted):
    return f'{dotted}: renamed; it is {new.removeprefix(section)} now'
  hint = nearest(name, node)
  known = (
    f'did you mean {hint!r}?' if hint else f'known here: {", ".join(sorted(node))}'
  )
  return f'{dotted}: unknown key; {known}'


def _annotation(cls, key):
  for part in key.split('.'):
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
    cls = hints.get(part)
  return cls


def _parse(text, annotation):
  """Returns `text` from the command line as a value of `annotation` if it is one."""
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
  """Returns dataclass `cls` from nested dicts; notes problems and goes on."""
  hints = typing.get_type_hints(cls)
  for name in values:
    if name not in hints:
      problems.append(_unknown(prefix + name, name, hints))
  built = {}
  for field in dataclasses.fields(cls):
    dotted, annotation = prefix + field.name, hints[field.name]
    if field.name not in values:
      problems.append(f'{dotted}: missing; start the config from configs/base.py')
    elif dataclasses.is_dataclass(annotation):
      section = values[field.name]
      if isinstance(section, dict):
        built[field.name] = _build(annotation, section, dotted + '.', problems)
      else:
        problems.append(f'{dotted}={section!r}: expected a section of fields')
    else:
      built[field.name] = _checked(
        dotted, values[field.name], annotation, field, problems
      )
  return cls(**built) if len(built) == len(hints) else None


def _checked(dotted, value, annotation, field, problems):
  """Returns `value` in the field's type, or notes type and range problems."""
  allowed = _alternatives(annotation)
  if type(value) is int and abs(value) >= 2**63:
    problems.append(f'{dotted}: expected a number of at most 64 bits')
    return value
  if typing.Any in allowed:  # config_checks looks into those
    return value
  if isinstance(value, str):
    name = dotted.split('[')[0]
    if new := RENAMED_VALUES.get((name, value)):
      problems.append(f'{name}: {value!r} was renamed; it is {new!r} now')
      return value
  if float in allowed and type(value) is int:
    value = float(value)
  # bool is an int to isinstance, but never what somebody means by a number.
  if type(value) not in allowed:
    expected = ' or '.join(t.__name__.replace('NoneType', 'None') for t in allowed)
    problems.append(
      f'{dotted}={value!r}: expected {expected}, not {type(value).__name__}'
    )
  elif isinstance(value, float) and not math.isfinite(value):
    problems.append(f'{dotted}={value!r}: expected a finite number')
  elif isinstance(value, str) and (len(value) > MAX_TEXT or '\0' in value):
    problems.append(
      f'{dotted}={value[:40]!r}...: expected at most {MAX_TEXT} characters, none of'
      ' them a zero byte'
    )
  elif isinstance(value, tuple):
    return _checked_items(
      dotted, value, typing.get_args(annotation)[0], field, problems
    )
  elif value is not None:
    problem = _out_of_range(value, field.metadata)
    if problem:
      problems.append(f'{dotted}={value!r}: {problem}')
  return value


def _checked_items(dotted, values, annotation, field, problems):
  return tuple(
    _checked(f'{dotted}[{i}]', value, annotation, field, problems)
    for i, value in enumerate(values)
  )


def _out_of_range(value, limits):
  if 'choices' in limits and value not in limits['choices']:
    hint = nearest(value, limits['choices'])
    expected = f'expected one of {", ".join(limits["choices"])}'
    return expected + (f'; did you mean {hint!r}?' if hint else '')
  if 'at_least' in limits and value < limits['at_least']:
    return f'expected at least {limits["at_least"]}'
  if 'at_most' in limits and value > limits['at_most']:
    return f'expected at most {limits["at_most"]}'
  if 'below' in limits and value >= limits['below']:
    return f'expected less than {limits["below"]}'
  if 'above' in limits and value <= limits['above']:
    return f'expected more than {limits["above"]}'
  return None


def _combined_problems(config, tables, problems):
  """Returns problems that several fields make together, and names no table has.

  A field that is in `problems` already proves nothing about others: lines that name it
  are left out, and so is a check that stumbles over its value.
  """
  wrong = {problem.split(':')[0].split('=')[0] for problem in problems}
  # An eval set inherits the data section: its `.seq_len` is the same mistake again.
  wrong |= {field.removeprefix('data') for field in wrong if field[:5] == 'data.'}
  found = []
  for check in [*CHECKS, lambda config: _unknown_names(config, tables), _data_problems]:
    try:
      lines = check(config)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
      if not wrong:
        raise
      continue
    found += [line for line in lines if not any(field in line for field in wrong)]
  return found


def _unknown_names(config, tables):
  """Returns problems of fields that name an entry no table has."""
  problems = []
  for dotted, table in tables.items():
    section, _, name = dotted.partition('.')
    value = getattr(getattr(config, section), name)
    if value not in table and ':' not in value:
      hint = nearest(value, table)
      problems.append(
        f'{dotted}={value!r}: expected one of {", ".join(sorted(table))}'
        ' or "package.module:attribute"' + (f'; did you mean {hint!r}?' if hint else '')
      )
  return problems


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
