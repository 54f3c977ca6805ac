"""Sections that registry entries own: `objective.options` and its like.

What stands there is a dict until the config is loaded: the entry that the section picks
declares a dataclass (`registry.entry`), whose instance takes the dict's place. An entry
without one has no options.
"""

import dataclasses
import functools
import keyword

from gpt_jax.config import values
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions

OPTIONS = {
  'attention.kernel': 'attention.options',
  'data.source': 'data.options',
  'init.transform': 'init.options',
  'model.position': 'model.position_options',
  'objective.name': 'objective.options',
  'optimizer.name': 'optimizer.options',
  'optimizer.post_update': 'optimizer.post_update_options',
  'peft.name': 'peft.options',
  'schedule.name': 'schedule.options',
  'task.name': 'task.options',
  'tokenizer.name': 'tokenizer.options',
}
"""Field that picks an entry -> field with the options of that entry."""


def is_option(key):
  """Returns whether dotted `key` is a field in the options of an entry."""
  return key.startswith(_PREFIXES)


_PREFIXES = tuple(f'{field}.' for field in OPTIONS.values())


class Entries:
  """What the entries that a config picks declare, and the names that pick none.

  `must_import` False: a plug-in that is not here is no problem. What is done with a
  finished run may need none of them.
  """

  def __init__(self, registries, must_import=True):
    self._registries, self._must_import = registries, must_import
    self.problems = {}

  def declared(self, field, name, what, default=None, shown=None):
    """Returns attribute `what` of the entry, `default` where it has none.

    Args:
      field: that of the registry; `shown`: where the name stands, if elsewhere.
    Returns None, and adds to `problems`, where there is no such entry.
    """
    registry, shown = self._registries.get(field), shown or field
    if registry is None or not isinstance(name, str):
      return None
    try:
      return getattr(lookup(registry, name, shown), what, default)
    except ConfigError as error:
      if self._must_import or ':' not in name:
        text = str(error).removeprefix(shown).removesuffix('.')
        self.problems[shown] = Problem(shown, text)
      return None


def picked(config):
  """Returns {field: the entry that it picks} of the nested dict `config`."""
  found = {}
  for picks in OPTIONS:
    section, _, name = picks.partition('.')
    values = config.get(section)
    found[picks] = values.get(name) if isinstance(values, dict) else None
  return found


def drop_of_others(config, before):
  """Empties the options in `config` of entries that it picked `before`, and no more."""
  for picks, name in picked(config).items():
    section, _, key = OPTIONS[picks].partition('.')
    if name != before[picks] and isinstance(config.get(section), dict):
      config[section][key] = {}


def put(config, overrides, entries, problems):
  """Replaces the options in the nested dict `config` by instances of their sections.

  Args:
    overrides: those of options, `{'objective.options.alpha': '0.3'}`.
  """
  for picks, field in OPTIONS.items():
    section_name, _, key = field.partition('.')
    section = config.get(section_name)
    if not isinstance(section, dict) or key not in section:
      continue  # `values.build` reports it
    name = section.get(picks.partition('.')[2])
    declared = entries.declared(picks, name, 'options', NoOptions)
    mine = {k: v for k, v in overrides.items() if k.startswith(f'{field}.')}
    section[key] = make(
      section[key], mine, declared, field, f'{picks}={name!r}', problems
    )


def misplaced(config, registries, entries):
  """Yields the Problems of entries that declare options where none can be given."""
  for field in registries.keys() - OPTIONS.keys():
    for name in names(config, field):
      declared = entries.declared(field, name, 'options', NoOptions)
      if declared not in (None, NoOptions):
        yield Problem(
          field,
          f'={name!r}: declares options, for which there is no field; the entries of'
          f' {", ".join(sorted(OPTIONS))} may have some',
        )


def names(config, field):
  """Returns the entries that a field picks: one, or several where it is a tuple."""
  section, _, name = field.partition('.')
  picked = getattr(getattr(config, section), name, None)  # None: no such section
  return picked if isinstance(picked, tuple) else (picked,)


def make(given, overrides, cls, field, picked, problems):
  """Returns dataclass `cls` of the dict `given` and of overrides of `field`.

  `cls` None: an entry that is not here; the fields are those given.
  """
  if not isinstance(given, dict):
    problems.append(Problem(field, f'={given!r}: expected a section of fields'))
    return given
  if cls is NoOptions:
    names = [*given, *(key.removeprefix(f'{field}.') for key in overrides)]
    problems += [Problem(f'{field}.{n}', f': {picked} has no options') for n in names]
    return NoOptions()
  if cls is None:
    return _stand_in(given, field, problems)
  if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
    text = f': {picked} declares {cls!r}; expected a class made by @sections.section'
    problems.append(Problem(field, text))
    return given
  given = values.defaults(cls) | given
  for key, value in overrides.items():
    name = key.removeprefix(f'{field}.')
    values.override(given, name, value, problems, cls=cls, prefix=f'{field}.')
  built = values.build(cls, given, f'{field}.', problems)
  return given if built is None else built


def _stand_in(given, field, problems):
  """Returns a frozen dataclass of just what is given."""
  wrong = [
    key for key in given if not str(key).isidentifier() or keyword.iskeyword(key)
  ]
  problems += [
    Problem(f'{field}.{key}', ': expected the name of a field') for key in wrong
  ]
  if wrong:
    return given
  return _class_of(tuple(given))(**given) if given else NoOptions()


@functools.cache  # instances of one class are equal
def _class_of(names):
  return dataclasses.make_dataclass('Options', names, frozen=True)


def fill_absent(saved, config):
  """Puts the defaults of options that entries have got since into dict `saved`."""
  for picks, field in OPTIONS.items():
    section_name, _, key = field.partition('.')
    section, now = saved.get(section_name, {}), getattr(config, section_name)
    name = picks.partition('.')[2]
    if section.get(name) != getattr(now, name):
      continue  # other options
    options = section.setdefault(key, {})
    for option in dataclasses.fields(getattr(now, key)):
      if option.name not in options and option.default is not dataclasses.MISSING:
        options[option.name] = option.default
