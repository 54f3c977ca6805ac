"""From a ConfigDict and overrides to a frozen Config, or one error with all problems.

`checks` has the combinations of fields, `values` types and ranges, `options` the
sections of registry entries.
"""

import dataclasses
import typing

from ml_collections import ConfigDict

from gpt_jax.config import options
from gpt_jax.config import values as typed
from gpt_jax.config.checks import CHECKS
from gpt_jax.config.schema import Config, DataConfig
from gpt_jax.core.errors import ConfigError, require_none
from gpt_jax.core.sections import NoOptions


def resolve(config, overrides=None, registries=None, rules=(), must_import=True):
  """Returns the frozen `Config` of a ConfigDict (or dict) plus dotted `overrides`.

  Args:
    config: a ConfigDict with every section of `configs/base.py`.
    overrides: `{'model.num_layers': 2}`; a string value is read by the field's type.
    registries: `{'attention.kernel': KERNELS}`: names that a field may take.
    rules: checks beside `checks.CHECKS`: `setup.RULES`.
    must_import: False: plug-ins may be missing, as in what a run has saved.
  Raises ConfigError listing every problem found.
  """
  values = typed.plain(config.to_dict() if isinstance(config, ConfigDict) else config)
  problems, entries = [], options.Entries(registries or {}, must_import)
  overrides = overrides or {}
  before = options.picked(values)
  of_entries = {key: overrides[key] for key in overrides if options.is_option(key)}
  for key, value in overrides.items():
    if key not in of_entries:
      typed.override(values, key, value, problems)
  options.drop_of_others(values, before)
  options.put(values, of_entries, entries, problems)
  frozen = typed.build(Config, values, '', problems)
  if frozen is not None:
    problems += _combined_problems(frozen, registries or {}, rules, entries, problems)
  if problems:
    lines = '\n'.join(f'  {problem}' for problem in problems)
    raise ConfigError(f'{len(problems)} problem(s) in the config:\n{lines}')
  return _fill_in(frozen, entries)


def to_dict(config) -> dict[str, typing.Any]:
  """Returns a frozen `Config` as plain dicts and lists, ready for JSON."""
  return typed.plain(config, sequence=list)


def data_section(data, overrides, field, sources=None) -> DataConfig:
  """Returns the DataConfig `data` with an eval set's or mixture part's overrides.

  `sources`: the registry, for options of another source than that of `data`.
  """
  problems, entries = [], options.Entries({'data.source': sources} if sources else {})
  section = _data_section(data, overrides, field, entries, problems)
  require_none([*entries.problems.values(), *problems])
  assert section is not None, 'only an override can make a field of a DataConfig go'
  return section


def _data_section(data, overrides, field, entries, problems):
  values, prefix = typed.plain(data), f'{field}.'
  mine = {str(key): value for key, value in overrides.items() if key != 'weight'}
  of_entry = {
    prefix + key: mine[key] for key in mine if options.is_option(f'data.{key}')
  }
  for key, value in mine.items():
    if prefix + key not in of_entry:
      typed.override(values, key, value, problems, cls=DataConfig, prefix=prefix)
  found, source = [], values['source']
  if source == data.source and dataclasses.is_dataclass(data.options):
    declared = type(data.options)
  else:
    declared = entries.declared(
      'data.source', source, 'options', NoOptions, f'{prefix}source'
    )
    if 'options' not in mine:
      values['options'] = {}  # those of `data` are another source's
  values['options'] = options.make(
    values['options'], of_entry, declared, f'{prefix}options', f'{prefix}source='
    f'{source!r}', found,
  )  # fmt: skip
  if 'packing' in mine:
    entries.declared('data.packing', values['packing'], '', shown=f'{prefix}packing')
  section = typed.build(DataConfig, values, prefix, found)
  # What is wrong with an inherited value is a problem of the section `data`.
  changed = tuple(f'{prefix}{key}' for key in mine)
  problems += [problem for problem in found if problem.field.startswith(changed)]
  return section


def _combined_problems(config, registries, rules, entries, problems):
  """Returns problems that several fields make together, and names of no registry.

  A field with a problem of its own proves nothing about others: problems that name it
  are left out, and so is a check that fails on its value.
  """
  own_rules = [
    entries.declared(field, name, 'problems')
    for field in registries
    for name in options.names(config, field)
  ]
  wrong = {problem.field.partition('[')[0] for problem in problems}
  wrong |= entries.problems.keys()
  found = []
  for check in (
    *CHECKS, *rules, *filter(None, own_rules),
    lambda config: _data_problems(config, entries),
    lambda config: options.misplaced(config, registries, entries),
  ):  # fmt: skip
    try:
      made = list(check(config))
    except (TypeError, ValueError, AttributeError, ArithmeticError):
      if not wrong:
        raise
      continue
    found += [one for one in made if not any(field in str(one) for field in wrong)]
  return [*entries.problems.values(), *found]


def _data_problems(config, entries):
  """Returns problems of the data fields that eval sets and mixture parts change."""
  problems = []
  for field, parts in (
    ('eval.sets', config.eval.sets),
    ('data.mixture', config.data.mixture),
  ):
    for name, part in parts.items():
      if isinstance(part, dict):
        _data_section(config.data, part, f'{field}.{name}', entries, problems)
  return problems


def _fill_in(config, entries):
  """Returns `config` with each None that another field decides filled in."""
  model = config.model
  is_gated = entries.declared('model.activation', model.activation, 'is_gated')
  # GLU at equal parameters: 2/3 of 4d (Shazeer 2020), rounded up to fill vector lanes.
  gated_d_ff = -(-8 * model.d_model // 3 // 8) * 8
  model = dataclasses.replace(
    model,
    num_kv_heads=model.num_kv_heads or model.num_heads,
    head_dim=model.head_dim or model.d_model // model.num_heads,
    d_ff=model.d_ff or (gated_d_ff if is_gated else 4 * model.d_model),
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
