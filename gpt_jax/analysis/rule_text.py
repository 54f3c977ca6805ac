"""The text of a claim's rule: equal texts mean equal rules, whatever the comments.

A function is its source without comments, docstring and layout, and after it what it
refers to, one `name = text` a line: functions of the experiment file again by source,
numbers and texts by value. What it closes over stands behind it, after `with`. What
gpt_jax and installed packages define goes by module, name and arguments: a library that
is repaired or moved makes no new rule, and runs keep the commit it came from.
"""

import ast
import dataclasses
import functools
import hashlib
import linecache
import pathlib
import re
import site
import sys
import sysconfig
import types
from collections.abc import Mapping

import numpy as np

PACKAGE = pathlib.Path(__file__).parents[1]
INSTALLED = (
  PACKAGE,
  *(
    pathlib.Path(sysconfig.get_path(name)) for name in ('stdlib', 'purelib', 'platlib')
  ),
  *map(pathlib.Path, site.getsitepackages()),
)


def text_of(rule):
  """Returns the normalized text of a rule: a function, or an object with fields."""
  texts = _Texts()
  main = texts.of(rule)
  return '\n'.join([main, *(texts.globals[name] for name in sorted(texts.globals))])


def digest(text):
  """Returns 16 hexadecimal digits that stand for a text."""
  return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Texts:
  """The texts of values, and of the globals that their functions use."""

  def __init__(self):
    self.globals = {}  # name -> 'name = text'
    self._begun = []  # whose text is being made: a function may close over itself

  def of(self, value):
    """Returns the text of a value; globals that it needs are added to `globals`."""
    if isinstance(value, types.FunctionType):
      return self._function(value)
    if isinstance(value, functools.partial):
      parts = [value.func, *value.args, *sorted(value.keywords.items())]
      return f'partial({self._list(parts)})'
    if isinstance(value, types.MethodType):
      return f'{self.of(value.__self__)}.{value.__func__.__name__}'
    if isinstance(value, property | functools.cached_property):
      return self.of(value.fget if isinstance(value, property) else value.func)
    if isinstance(getattr(value, '__wrapped__', None), types.FunctionType):
      return self.of(value.__wrapped__)  # cached, or a static or class method
    if isinstance(value, type):
      return self._class(value)
    if isinstance(value, types.ModuleType):
      return f'module {_last(value.__name__)}'
    if dataclasses.is_dataclass(value):
      return self._dataclass(value)
    if isinstance(value, Mapping):
      items = (f'{self.of(key)}: {self.of(one)}' for key, one in value.items())
      return f'{{{", ".join(items)}}}'
    if isinstance(value, list | tuple):
      return f'({self._list(value)})'
    if isinstance(value, set | frozenset):
      return f'{{{", ".join(sorted(map(self.of, value)))}}}'
    if isinstance(value, np.ndarray):
      return f'array({value.tolist()})'
    is_plain = type(value).__repr__ is object.__repr__
    if hasattr(value, '__dict__') and (is_plain or '__call__' in vars(type(value))):
      return self._object(value)
    # Addresses in memory differ from process to process.
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))

  def _list(self, values):
    return ', '.join(map(self.of, values))

  def _object(self, value):
    name = self._class(type(value))
    if any(value is one for one in self._begun):
      return name
    self._begun.append(value)
    text = f'{name}({self.of(vars(value))})'
    self._begun.pop()
    return text

  def _dataclass(self, value):
    cls = type(value)
    is_installed = _is_installed_class(cls)
    # What does not count in a comparison (`rules.Rule.statistics`) is only said.
    names = [f.name for f in dataclasses.fields(value) if f.compare or not is_installed]
    fields = self.of({name: getattr(value, name) for name in names})
    return f'{cls.__qualname__ if is_installed else self._class(cls)}({fields})'

  def _function(self, function):
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    closed = dict(zip(function.__code__.co_freevars, cells, strict=True))
    name = f'{_last(function.__module__)}.{function.__qualname__}'
    if any(function is one for one in self._begun):
      return name
    self._begun.append(function)
    if _is_installed(_file_of(function)):
      # A factory of `rules` has its arguments in the closure.
      text = f'{name}({self.of(dict(sorted(closed.items())))})' if closed else name
    else:
      text = self._own_function(function, name, closed)
    self._begun.pop()
    return text

  def _own_function(self, function, name, closed):
    node = _node_of(function)
    if node is None:  # typed into a prompt: there is no file to read
      code = function.__code__
      return f'{name} {code.co_code.hex()} {code.co_consts!r}'
    module = function.__globals__.get('__name__', '')
    prefix = '' if module == '<run_path>' else f'{_last(module)}.'
    for used, value in _used(node, function.__globals__):
      key = prefix + used
      if used.split('.')[0] not in closed and key not in self.globals:
        self.globals[key] = ''  # a function may call itself
        self.globals[key] = f'{key} = {self.of(value)}'
    # Two functions of one factory have one source, and closures of their own.
    defaults = [*(function.__defaults__ or ())]
    bound = dict(sorted(closed.items())) | (function.__kwdefaults__ or {})
    parts = [self.of(bound)] * bool(bound) + [self.of(defaults)] * bool(defaults)
    return ' with '.join([_source(node), *parts])

  def _class(self, cls):
    if _is_installed_class(cls):
      return f'{_last(cls.__module__)}.{cls.__qualname__}'
    bases = [base for base in cls.__bases__ if base is not object]
    # What Python and dataclasses add by themselves is no source.
    own = {
      name: value
      for name, value in vars(cls).items()
      if not re.fullmatch('__.*__|_abc_impl', name)
      or (isinstance(value, types.FunctionType) and _file_of(value).exists())
    }
    return f'class {cls.__qualname__}({self._list(bases)}) {self.of(own)}'


def _used(node, outside):
  """Yields (name, value) of the globals that a syntax tree refers to.

  Of a module of the experiment's own, `module.name` for what is used of it.
  """
  found = {}
  for part in ast.walk(node):
    if isinstance(part, ast.Name) and part.id in outside:
      found[part.id] = outside[part.id]
    if isinstance(part, ast.Attribute):
      first, *rest = _dotted(part)
      value = outside.get(first)
      while (
        rest and isinstance(value, types.ModuleType) and not _is_installed_module(value)
      ):
        first, value = f'{first}.{rest[0]}', getattr(value, rest.pop(0), None)
        found[first] = value
  return sorted(found.items())


def _dotted(node):
  """Returns ['a', 'b', 'c'] of the syntax of `a.b.c`; [''] of other attributes."""
  if isinstance(node, ast.Name):
    return [node.id]
  return [*_dotted(node.value), node.attr] if isinstance(node, ast.Attribute) else ['']


def _last(module):
  # Not its package: a module that moves makes no new rule.
  return module.rpartition('.')[2]


def _is_installed_class(cls):
  module = sys.modules.get(cls.__module__)
  return module is not None and _is_installed_module(module)


def _is_installed_module(module):
  path = getattr(module, '__file__', None)
  return path is None or _is_installed(pathlib.Path(path))


def _file_of(function):
  return pathlib.Path(function.__code__.co_filename)


def _is_installed(path):
  return any(path.is_relative_to(folder) for folder in INSTALLED)


def _node_of(function):
  """Returns the syntax of a function in its file, or None."""
  code = function.__code__
  linecache.checkcache(code.co_filename)
  lines = linecache.getlines(code.co_filename)
  if not lines:
    return None
  kind = ast.Lambda if code.co_name == '<lambda>' else ast.FunctionDef
  found = []
  for node in ast.walk(ast.parse(''.join(lines))):
    if isinstance(node, kind):
      first = min(
        [node.lineno, *(d.lineno for d in getattr(node, 'decorator_list', ()))]
      )
      if (
        first == code.co_firstlineno
        and getattr(node, 'name', '<lambda>') == code.co_name
      ):
        found.append(node)
  if (
    len(found) > 1
  ):  # several lambdas in one line: the one that holds the code's columns
    places = [p for p in code.co_positions() if None not in p and p[1] and p[3]]
    found = [node for node in found if _holds(node, places)] or found
    found.sort(key=lambda node: len(ast.unparse(node)))
  return found[0] if found else None


def _holds(node, places):
  """Returns whether all `places` (line, end line, column, end column) lie in a node."""
  first, last = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
  real = [(a, c, b, d) for a, b, c, d in places if (a, c) != (node.lineno, 0)]
  return all(first <= (a, c) and (b, d) <= last for a, c, b, d in real)


def _source(node):
  """Returns the source of a function without its docstring, comments and layout."""
  node = ast.parse(ast.unparse(node)).body[0]
  if isinstance(node, ast.FunctionDef):
    node.decorator_list = []
    if ast.get_docstring(node) is not None:
      node.body = node.body[1:] or [ast.Pass()]
  return ast.unparse(node)
