"""Imports between modules point downwards; packages are few, flat and described."""

import ast
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

LEVELS = {
  'core configs hlo': 1,
  'config parallel optimizers storage': 2,
  'attention data workdir quantization': 3,
  'model objectives checkpoints tracking evaluation launchers corpus': 4,
  'examples templates augmentation keys safety': 4,
  'interop baselines peft': 5,
  'tasks compress retrieval': 6,
  'inference program': 7,
  'planning peft_formats': 8,
  'benchmarks train': 9,
  'api sweeps': 10,
  'analysis execution harness serving support': 11,
  'opinion recommend': 11,
  'plots': 12,
  'reports search': 13,
  'commands cli __main__ __init__': 14,
}
"""Names under gpt_jax/. A module imports from below and from its own package."""

LEVEL_OF = {name: level for names, level in LEVELS.items() for name in names.split()}
COMMAND_LINE = 14
"""The level whose modules also import each other."""
MAX_LOOSE_MODULES = 6


def _modules():
  """Returns `{dotted name: path}` of all modules of the package."""
  found = {}
  for path in sorted((ROOT / 'gpt_jax').rglob('*.py')):
    parts = path.relative_to(ROOT).with_suffix('').parts
    found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
  return found


MODULES = _modules()


def imports_of(source, known=MODULES):
  """Returns the modules of the package that `source` imports, anywhere in it.

  `from gpt_jax.model import gpt` is an import of `gpt_jax.model.gpt` when that is a
  module, and of `gpt_jax.model` when it is not.
  """
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'line {node.lineno}: relative import; write gpt_jax. ...'
      for alias in node.names:
        inner = f'{node.module}.{alias.name}'
        found.add(inner if inner in known else node.module)
  return {name for name in found if name.split('.')[0] == 'gpt_jax'}


def package_of(module):
  """Returns the package or file directly under gpt_jax that holds `module`."""
  return module.split('.')[1] if '.' in module else '__init__'


def wrong_imports(module, imported):
  """Returns one line for each import that does not point downwards."""
  here = package_of(module)
  lines = []
  for target in sorted(imported):
    there = package_of(target)
    is_allowed = here == there or LEVEL_OF[there] < LEVEL_OF[here]
    if not is_allowed and not LEVEL_OF[here] == LEVEL_OF[there] == COMMAND_LINE:
      lines.append(
        f'{module} (level {LEVEL_OF[here]}) imports {target} (level {LEVEL_OF[there]})'
      )
  return lines


def test_every_file_and_package_has_a_level():
  missing = {package_of(module) for module in MODULES} - set(LEVEL_OF)
  assert missing == set(), 'give it a level in LEVELS and in docs/architecture.md'


def test_modules_import_only_from_below():
  wrong = []
  for module, path in MODULES.items():
    wrong += wrong_imports(module, imports_of(path.read_text()))
  assert not wrong, '\n'.join(wrong)


def test_modules_do_not_import_each_other_in_a_circle():
  graph = {name: imports_of(path.read_text()) for name, path in MODULES.items()}
  graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_packages_are_one_level_deep():
  assert max(name.count('.') for name in MODULES) <= 2


def test_few_modules_stand_outside_of_packages():
  loose = sorted(path.name for path in (ROOT / 'gpt_jax').glob('*.py'))
  assert len(loose) <= MAX_LOOSE_MODULES, loose


def test_every_package_says_what_is_in_it():
  packages = [path for path in MODULES.values() if path.name == '__init__.py']
  silent = [
    path for path in packages if not ast.get_docstring(ast.parse(path.read_text()))
  ]
  assert silent == []


@pytest.mark.parametrize(
  'module, source, is_wrong',
  [
    ('gpt_jax.model.gpt', 'import gpt_jax.train.loop', True),
    ('gpt_jax.model.gpt', 'def f():\n  from gpt_jax.evaluation import evaluate', True),
    ('gpt_jax.data.pipeline', 'from gpt_jax.objectives import losses', True),
    ('gpt_jax.data.pipeline', 'from gpt_jax.data import packing', False),
    ('gpt_jax.planning.plan', 'from gpt_jax.train import loop', True),
    ('gpt_jax.benchmarks.timing', 'from gpt_jax.train import loop', True),
    ('gpt_jax.objectives.losses', 'from gpt_jax.attention.masks import Mask', False),
    ('gpt_jax.config.load', 'from gpt_jax.core.errors import ConfigError', False),
    ('gpt_jax.core.types', 'import gpt_jax', True),
    ('gpt_jax.core.types', 'import numpy as np', False),
  ],
)
def test_the_check_itself_sees_imports_that_point_up(module, source, is_wrong):
  assert bool(wrong_imports(module, imports_of(source))) == is_wrong
