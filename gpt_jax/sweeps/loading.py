"""Reads an experiment file; every mistake in it is told with its line."""

import ast
import os
import pathlib
import re
import runpy
import traceback

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps import experiment as schema
from gpt_jax.sweeps.experiment import Experiment
from gpt_jax.sweeps.mistakes import Mistake

ENTRY = 'get_experiment'


def load(path):
  """Returns (Source, Experiment) of a file; ConfigError names it and the line."""
  source = Source(path)
  source.require_none(list(_repeated_keys(source.tree)))
  return source, load_experiment(source)


def load_experiment(source):
  """Returns what `get_experiment()` of a Source, or of a path, returns."""
  source = source if isinstance(source, Source) else Source(source)
  try:
    module = runpy.run_path(str(source.path))
    if ENTRY not in module:
      what = 'is a config: it' if 'get_config' in module else 'it'
      raise _Wrong(
        f'{what} defines no {ENTRY}(); expected a function that returns an Experiment'
        ' of gpt_jax.sweeps'
      )
    made = module[ENTRY]()
    if not isinstance(made, Experiment):
      raise _Wrong(
        f'{ENTRY}() returned {type(made).__name__}; expected an Experiment of'
        ' gpt_jax.sweeps'
      )
  except _Wrong as error:
    raise source.error([Mistake(str(error), (ENTRY,))]) from None
  except (Exception, SystemExit) as error:  # whatever its own code raises
    line = source.line_of_error(error)
    mistake = Mistake(_described(error), (ENTRY,), line)
    raise source.error([mistake]) from error
  return made


class _Wrong(Exception):
  pass


class Source:
  """The text of an experiment file: where in it something stands."""

  def __init__(self, path):
    self.path = pathlib.Path(path)
    if not self.path.is_file():
      raise ConfigError(_not_there(self.path))
    try:
      self.tree = ast.parse(self.path.read_bytes(), str(self.path))
    except (SyntaxError, ValueError) as error:  # ValueError: zero bytes
      line = getattr(error, 'lineno', None)
      text = f'{type(error).__name__}: {getattr(error, "msg", error)}'
      raise self.error([Mistake(text, line=line)]) from error
    self._lines = {}
    for node in ast.walk(self.tree):
      for name in _names(node):
        self._lines.setdefault(name, []).append(getattr(node, 'lineno', 0))

  def line_of(self, anchors):
    """Returns the line of the last of `anchors`, each sought from the one before on."""
    found = None
    for anchor in anchors:
      lines = self._lines.get(anchor, [])
      found = min((line for line in lines if line >= (found or 0)), default=found)
    return found

  def line_of_error(self, error):
    """Returns the last line of the file in the traceback of `error`, or None."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(self.path)]
    return lines[-1] if lines else None

  def error(self, mistakes):
    """Returns the ConfigError of `mistakes`, by line."""
    placed = [(one.line or self.line_of(one.anchors), one.text) for one in mistakes]
    placed.sort(key=lambda pair: pair[0] or 0)
    lines = [
      f'{self.path}:{line}: {_ended(text)}' if line else f'{self.path}: {_ended(text)}'
      for line, text in placed
    ]
    if len(lines) == 1:
      return ConfigError(lines[0])
    return ConfigError(
      '\n  '.join([f'{len(lines)} problems, nothing started:', *lines])
    )

  def require_none(self, mistakes):
    if mistakes:
      raise self.error(mistakes)


def _names(node):
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return [node.value]
  if isinstance(node, ast.keyword):
    return [node.arg] if node.arg else []
  if isinstance(node, ast.FunctionDef):
    return [node.name]
  return []


def _not_there(path):
  text = f'{path}: no such experiment file'
  if path.is_dir():
    return f'{path}: a folder; expected an experiment file, such as {path}/NAME.py.'
  folder = path.parent if path.parent.is_dir() else pathlib.Path('experiments')
  known = sorted(other.name for other in folder.glob('*.py'))
  if path.suffix != '.py' and (hint := nearest(f'{path.name}.py', known)):
    return f'{text}; did you mean {os.path.join(folder, hint)}?'
  hint = nearest(path.name, known)
  return text + (f'; did you mean {os.path.join(folder, hint)}?' if hint else '.')


def _repeated_keys(tree):
  """Yields a Mistake for each key that a dict literal has twice: Python keeps one."""
  constants = _constants(tree)
  for node in ast.walk(tree):
    if not isinstance(node, ast.Dict):
      continue
    seen = {}
    for key in node.keys:
      if isinstance(key, ast.Constant):
        value = key.value
      elif isinstance(key, ast.Name) and key.id in constants:
        value = constants[key.id]
      else:
        continue
      if value in seen:
        yield Mistake(
          f'{value!r} stands twice in one dict, first on line {seen[value]};'
          ' Python keeps the last: rename one of them',
          line=key.lineno,
        )
      seen.setdefault(value, key.lineno)


def _constants(tree):
  """Returns {name: value} of the names that stand for one constant in all of a file."""
  values, bound = {}, {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      bound[node.id] = bound.get(node.id, 0) + 1
    if isinstance(node, ast.arg):
      bound[node.arg] = bound.get(node.arg, 0) + 1
  for node in tree.body:
    if not isinstance(node, ast.Assign):
      continue
    for target in node.targets:
      pairs = [(target, node.value)]
      if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = zip(target.elts, node.value.elts, strict=False)
      for name, value in pairs:
        if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
          values[name.id] = value.value
  return {name: value for name, value in values.items() if bound[name] == 1}


_EXAMPLES = {'Size': "Size('two CPU cores', minutes=5)"}


def _described(error):
  text = ' '.join(str(error).split()).rstrip('.')
  if isinstance(error, ConfigError):
    return text
  missing = re.match(
    r'(?:\w+\.)*(\w+)\.__init__\(\) missing \d+ required .*? arguments?: (.*)', text
  )
  if missing and hasattr(schema, missing[1]):
    names = missing[2].replace("'", '')
    example = f', such as {_EXAMPLES[missing[1]]}' if missing[1] in _EXAMPLES else ''
    return f'{missing[1]} needs {names}{example}'
  found = re.match(
    r"(?:\w+\.)*(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text
  )
  cls = getattr(schema, found[1], None) if found else None
  if found and cls is not None:
    known = list(cls.__dataclass_fields__)
    hint = nearest(found[2], known)
    return f'{found[1]} has no {found[2]}; ' + (
      f'did you mean {hint!r}?' if hint else f'known: {", ".join(known)}'
    )
  return f'{type(error).__name__}: {text}'


def _ended(text):
  return text if text.endswith(('.', '?')) else f'{text}.'
