"""The text of a claim's rule: equal texts mean equal rules, whatever the comments.

A function is its source without comments, docstring and layout, and after it what it
refers to, one `name = text` a line: functions of the experiment file again by source,
numbers and texts by value. What gpt_jax and installed packages define goes by name and
arguments: a repaired library makes no new rule, and runs keep the commit it came from.
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
  helpers = {}
  main = _describe(rule, helpers)
  return '\n'.join([main, *(helpers[name] for name in sorted(helpers))])


def digest(text):
  """Returns 16 hexadecimal digits that stand for a text."""
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _describe(value, helpers):
  """Returns the text of a value; functions that it needs are added to `helpers`."""
  if isinstance(value, types.FunctionType):
    return _function(value, helpers)
  if isinstance(value, functools.partial):
    parts = [value.func, *value.args, *sorted(value.keywords.items())]
    return f'partial({", ".join(_describe(part, helpers) for part in parts)})'
  if isinstance(value, types.MethodType):
    return f'{_describe(value.__self__, helpers)}.{value.__func__.__name__}'
  if isinstance(value, type):
    return _class(value, helpers)
  if isinstance(value, types.ModuleType):
    return f'module {value.__name__}'
  if dataclasses.is_dataclass(value):
    # What does not count in a comparison (`rules.Rule.statistics`) is only said.
    parts = [f.name for f in dataclasses.fields(value) if f.compare]
    fields = {name: getattr(value, name) for name in parts}
    return f'{type(value).__qualname__}({_describe(fields, helpers)})'
  if isinstance(value, Mapping):
    items = (
      f'{_describe(k, helpers)}: {_describe(v, helpers)}' for k, v in value.items()
    )
    return f'{{{", ".join(items)}}}'
  if isinstance(value, list | tuple):
    return f'({", ".join(_describe(one, helpers) for one in value)})'
  if isinstance(value, set | frozenset):
    return f'{{{", ".join(sorted(_describe(one, helpers) for one in value))}}}'
  if isinstance(value, np.ndarray):
    return f'array({value.tolist()})'
  if vars(type(value)).get('__call__') and hasattr(value, '__dict__'):
    return f'{_class(type(value), helpers)}({_describe(vars(value), helpers)})'
  # Addresses in memory differ from process to process.
  return re.sub(r' at 0x[0-9a-f]+', '', repr(value))


def _function(function, helpers):
  name = f'{function.__module__}.{function.__qualname__}'
  cells = [cell.cell_contents for cell in function.__closure__ or ()]
  closed = dict(zip(function.__code__.co_freevars, cells, strict=True))
  if _is_installed(_file_of(function)):
    # A factory of `rules` has its arguments in the closure.
    return f'{name}({_describe(dict(sorted(closed.items())), helpers)})'
  node = _node_of(function)
  if node is None:  # typed into a prompt: there is no file to read
    return f'{name} {function.__code__.co_code.hex()} {function.__code__.co_consts!r}'
  used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
  outside = {**function.__globals__, **closed}
  for other in sorted(used & outside.keys()):
    if other not in helpers:
      helpers[other] = ''  # a function may call itself
      helpers[other] = f'{other} = {_describe(outside[other], helpers)}'
  return _source(node)


def _class(cls, helpers):
  module = sys.modules.get(cls.__module__)
  path = getattr(module, '__file__', None)
  if module is not None and (path is None or _is_installed(pathlib.Path(path))):
    return f'{cls.__module__}.{cls.__qualname__}'
  # What a dataclass gets by itself is no source.
  methods = {
    name: value
    for name, value in vars(cls).items()
    if isinstance(value, types.FunctionType) and _file_of(value).exists()
  }
  return f'class {cls.__qualname__} {_describe(methods, helpers)}'


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
