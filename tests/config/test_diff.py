"""Differences of nested dicts, field by field."""

from gpt_jax.config.diff import ABSENT, diff


def test_diff_lists_each_changed_field_old_and_new():
  old = {'model': {'d_model': 4, 'pattern': ('a',), 'old': 1}, 'seed': 0, 'mesh': {}}
  new = {'model': {'d_model': 8, 'pattern': ['a'], 'new': None}, 'seed': 0, 'mesh': {}}
  assert diff(old, new) == [
    ('model.d_model', 4, 8),
    ('model.new', ABSENT, None),
    ('model.old', 1, ABSENT),
  ]
  assert diff(old, old) == []


def test_diff_tells_a_section_from_an_empty_one():
  assert diff({'sets': {}}, {'sets': {'a': 1}}) == [
    ('sets', {}, ABSENT),
    ('sets.a', ABSENT, 1),
  ]
