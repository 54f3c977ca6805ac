"""Which parameters become which: rules in their order, and all that is left over."""

import ast
import dataclasses
import json
import re
import types

import jax
import jax.numpy as jnp
import pytest

from gpt_jax.config import load
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program.init_rules import (
  Take,
  by_rules,
  for_task,
  matching,
  some_layers,
)
from tests import small_models, tiny_runs


def leaves(**shapes):
  """Returns {name: ShapeDtypeStruct}; `a__b=(2,)` is named `a/b`."""
  return {
    name.replace('__', '/'): jax.ShapeDtypeStruct(shape, jnp.float32)
    for name, shape in shapes.items()
  }


def config(*rules):
  return types.SimpleNamespace(init=types.SimpleNamespace(rules=rules))


SOURCE = leaves(embed=(16, 4), old__kernel=(4, 4), head__kernel=(4, 16))


def test_equal_names_are_taken_as_they_are():
  assert by_rules(config(), SOURCE, SOURCE) == {name: Take((name,)) for name in SOURCE}


def test_rules_skip_rename_and_start_afresh():
  target = leaves(embed=(16, 4), new__kernel=(4, 4), head__kernel=(4, 3))
  rules = {'rename': ('^old/', 'new/')}, {'skip': '^head'}, {'fresh': '^head'}
  assert by_rules(config(*rules), SOURCE, target) == {
    'embed': Take(('embed',)),
    'new/kernel': Take(('old/kernel',)),
    'head/kernel': None,
  }


def test_rules_apply_in_their_order():
  target = leaves(embed=(16, 4), b__kernel=(4, 4), head__kernel=(4, 16))
  swap = {'rename': (r'^(\w+)/kernel', r'x_\1')}, {'rename': ('x_old', 'b/kernel')}
  back = {'rename': ('x_head', 'head/kernel')}
  mapping = by_rules(config(*swap, back), SOURCE, target)
  assert mapping['b/kernel'] == Take(('old/kernel',))
  with pytest.raises(
    ConfigError, match=r"init.rules\[0\].rename='x_old': matches none"
  ):
    by_rules(config(*reversed(swap)), SOURCE, target)


TARGET = leaves(embed=(20, 4), new__kernel=(4, 4)) | {
  'head/kernel': jax.ShapeDtypeStruct((4, 16), jnp.bfloat16)
}


def test_what_is_left_over_is_listed_with_rules_that_settle_it():
  with pytest.raises(CheckpointError) as caught:
    by_rules(config(), SOURCE, TARGET)
  text = str(caught.value)
  assert 'embed: saved float32[16, 4], wanted float32[20, 4]' in text
  assert 'head/kernel: saved float32[4, 16], wanted bfloat16[4, 16]' in text
  assert 'new/kernel: not saved (saved as old/kernel?)' in text
  assert 'old/kernel: saved, not wanted' in text
  flag = re.search(r'--config.init.rules="(.*)"', text)[1]
  mapping = by_rules(config(*ast.literal_eval(flag)), SOURCE, TARGET)
  assert mapping['new/kernel'] is None
  assert mapping['embed'].overlap and mapping['head/kernel'].cast


def test_two_that_would_become_one_are_refused():
  rules = ({'rename': ('old', 'head')},)
  with pytest.raises(CheckpointError, match='both old/kernel and head/kernel would'):
    by_rules(config(*rules), SOURCE, leaves(embed=(16, 4), head__kernel=(4, 16)))


def test_many_differences_are_counted():
  source = leaves(**{f'a{i}': (1,) for i in range(50)})
  with pytest.raises(CheckpointError, match=r'(?s)50 to settle.*\.\.\. and 30 more'):
    by_rules(config(), source, {})


def test_other_sizes_name_the_field_that_takes_them():
  with pytest.raises(CheckpointError, match='--config.init.model=keep'):
    by_rules(config(), leaves(embed=(16, 4)), leaves(embed=(16, 8)))


def test_matching_takes_what_fits_and_starts_the_rest():
  assert matching(None, SOURCE, TARGET) == {
    'embed': None,
    'new/kernel': None,
    'head/kernel': Take(('head/kernel',), cast=True),
  }


@pytest.mark.parametrize(
  'rules, message',
  [
    (('skip',), "init.rules[0]='skip': expected a dict of one of skip"),
    (({'skip': 'a', 'fresh': 'b'},), 'init.rules[0]='),
    (({'drop': 'a'},), 'init.rules[0]='),
    (({'fresh': 'a'}, {'rename': 'a'}), 'init.rules[1].rename'),
    (({'skip': ('a', 'b')},), 'init.rules[0].skip'),
    (({'skip': '('},), 'expected a regular expression'),
    (({'rename': ('a', r'\2')},), 'expected a regular expression'),
    (({'overlap': 3},), 'expected a regular expression'),
  ],
)
def test_a_rule_that_is_none_is_refused_by_name(rules, message):
  with pytest.raises(ConfigError, match=re.escape(message)):
    small_models.resolve(init__rules=rules)


def test_rules_without_the_transform_that_reads_them_are_refused():
  with pytest.raises(ConfigError, match='init.transform'):
    small_models.resolve(init__transform='matching', init__rules=({'skip': 'a'},))


def test_takes_are_data_that_compare():
  assert dataclasses.replace(Take(('a',)), overlap=True) != Take(('a',))


def test_for_task_takes_all_but_heads(tmp_path):
  source = leaves(embed__w=(4, 2), pooler__w=(2, 2), task_head__w=(2, 2))
  target = leaves(embed__w=(4, 2), task_head__w=(2, 3))
  mapping = for_task(with_labels(tmp_path, ('a', 'b')), source, target)
  assert mapping['embed/w'].names == ('embed/w',)
  assert mapping['task_head/w'] is None  # three outputs in place of two
  with pytest.raises(CheckpointError, match='layers/w: not saved'):
    for_task(
      with_labels(tmp_path, ('a', 'b')), source, target | leaves(layers__w=(1, 1))
    )


LABELS = [(('a', 'b'), True), (('c', 'd'), False)]


@pytest.mark.parametrize(('labels', 'is_taken'), LABELS)
def test_a_head_of_other_labels_is_fresh_and_said(tmp_path, labels, is_taken, capsys):
  parts = leaves(embed__w=(4, 2), task_head__w=(2, 2))
  mapping = for_task(with_labels(tmp_path, labels), parts, dict(parts))
  assert (mapping['task_head/w'] is not None) == is_taken
  assert ('the task head is fresh' in capsys.readouterr().err) != is_taken


def with_labels(folder, labels):
  """Returns a Config that starts from a run with the labels a and b."""
  source = tiny_runs.tiny_config({'data.label_names': ('a', 'b')})
  (folder / 'config.json').write_text(json.dumps(load.to_dict(source)))
  names = {'data.label_names': labels, 'init_from': str(folder)}
  return tiny_runs.tiny_config(names)


UP, HEAD = 'layers/block_0/up/kernel', 'task_head/kernel'
STACK = {
  UP: (6, 2),
  'embed': (16, 4),
  HEAD: (4, 3),
}


def copying(layers=(), num_layers=3, pattern=('global',)):
  init = types.SimpleNamespace(options=types.SimpleNamespace(layers=layers))
  model = types.SimpleNamespace(num_layers=num_layers, layer_pattern=pattern)
  return types.SimpleNamespace(init=init, model=model)


def shapes(sizes):
  return {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in sizes.items()}


def test_layers_are_spread_evenly_as_those_of_distilbert():
  target = shapes(STACK | {UP: (3, 2)})
  mapping = some_layers(copying(), shapes(STACK), target)
  stack = jnp.arange(12.0).reshape(6, 2)
  made = mapping[UP].make(stack)
  assert made[:, 0].tolist() == [0, 4, 10]  # layers 1, 3 and 6
  deep = {f'layers_{i}/block_0/up/kernel': (2,) for i in range(12)}
  few = {f'layers_{i}/block_0/up/kernel': (2,) for i in range(6)}
  mapping = some_layers(copying(num_layers=6), shapes(deep), shapes(few))
  found = [
    int(take.names[0].split('/')[0][len('layers_') :]) for take in mapping.values()
  ]
  assert found == [0, 2, 4, 7, 9, 11]


def test_beside_copied_layers_a_head_may_be_fresh():
  target = shapes(STACK | {UP: (3, 2), HEAD: (4, 2)})
  mapping = some_layers(copying((2, 4, 6)), shapes(STACK), target)
  assert mapping[HEAD] is None
  assert mapping['embed'].names == ('embed',)


@pytest.mark.parametrize(
  'layers, num_layers, message',
  [
    ((1, 2), 3, r'expected 3 layers, each from 1 to 6'),
    ((1, 2, 7), 3, r'expected 3 layers, each from 1 to 6'),
    ((), 8, 'this model has 8 layers, init_from 6'),
  ],
)
def test_layers_that_are_not_there_are_refused(layers, num_layers, message):
  target = shapes(STACK | {UP: (num_layers, 2)})
  with pytest.raises(ConfigError, match=message):
    some_layers(copying(layers, num_layers), shapes(STACK), target)
