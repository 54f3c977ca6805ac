"""The same problem of many points is told once."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps.mistakes import MAX_LISTED, PointMistakes


def test_a_problem_of_many_points_is_told_once():
  found = PointMistakes(500)
  for i in range(499):
    error = ConfigError('1 problem(s) in the config:\n  model.d_model=0: too few')
    found.add_config_error(f'p{i}', error, {'model.d_model': 0}, 'a', ())
  (mistake,) = found.listed()
  assert mistake.text == 'model.d_model=0: too few (499 of 500 points, such as p0)'
  assert mistake.anchors == ('model.d_model',)


def test_more_problems_than_anybody_reads_are_counted():
  found = PointMistakes(99)
  for i in range(MAX_LISTED + 7):
    found.add(f'p{i}', f'problem {i}')
  assert found.listed()[-1].text.startswith('and 7 more')


def test_a_misspelt_section_is_found_in_the_file():
  found = PointMistakes(1)
  found.add_config_error('p', ConfigError('trian: no'), {'trian.steps': 6}, 'a', ())
  assert found.listed()[0].anchors == ('trian.steps',)
