"""Mistakes in an experiment file are told with their line."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import loading
from tests.sweeps import studies


def load(tmp_path, text):
  path = tmp_path / 'study.py'
  path.write_text(text)
  return loading.load(path)


HEAD = 'from gpt_jax.sweeps import *\ndef get_experiment():\n  '


@pytest.mark.parametrize(
  'text, line, told',
  [
    ('def f(:\n', 1, 'SyntaxError'),
    ('x = 1\n', None, 'defines no get_experiment'),
    (HEAD + 'return 3\n', 2, 'returned int'),
    (HEAD + 'return 1 / 0\n', 3, 'ZeroDivisionError'),
    (HEAD + 'raise SystemExit(3)\n', 3, 'SystemExit: 3'),
    ('def get_experiment(x):\n  pass\n', 1, 'missing 1 required positional'),
    (HEAD + 'return Experiment(base="tiny", size={})\n', 3, "did you mean 'sizes'"),
    (HEAD + 'Size("a laptop")\n', 3, 'Size needs minutes, such as Size'),
    (HEAD + 'x = 1\n  vary("a")\n', 4, 'no values'),
    (HEAD + 'x = {"a": 1,\n  "b": 2,\n  "a": 3}\n', 5, 'twice in one dict'),
    ('A, B = "a", "a"\n' + HEAD + 'x = {A: 1, B: 2}\n', 4, "'a' stands twice in"),
    ('A = "a"\n' + HEAD + 'x = {"a": 1, A: 2}\n', 4, "'a' stands twice in"),
    ('import no_such_module\n', 1, 'no_such_module'),
  ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path, text, line, told):
  with pytest.raises(ConfigError, match=told) as caught:
    load(tmp_path, text)
  place = 'study.py' if line is None else f'study.py:{line}:'
  assert place in str(caught.value)


def test_a_misspelt_file_is_told_with_the_nearest_one(tmp_path):
  studies.write(tmp_path)
  for name in ('studdy.py', 'study'):
    with pytest.raises(ConfigError, match='did you mean .*study.py'):
      loading.load(tmp_path / name)
  with pytest.raises(ConfigError, match='a folder'):
    loading.load(tmp_path)


def test_names_that_stand_for_several_values_are_different_keys(tmp_path):
  text = 'A, B = "a", "b"\nfor C in "ab":\n  {A: 1, B: 2, C: 3}\nC = "a"\n'
  with pytest.raises(ConfigError, match='defines no get_experiment'):
    load(tmp_path, text)
