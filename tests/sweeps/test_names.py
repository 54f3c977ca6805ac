"""Names of points are readable, unique and short enough for any file system."""

from gpt_jax.sweeps import FromRow
from gpt_jax.sweeps.names import MAX_NAME, point_name, point_names


def test_a_name_is_the_row_and_its_values():
  axes = {'optimizer.learning_rate': 0.003, 'seed': 1}
  assert point_name('pre norm', axes) == 'pre_norm,learning_rate=0.003,seed=1'


def test_values_of_all_kinds_are_readable():
  axes = {
    'a.pattern': ('global', 'local:8'),
    'a.size': None,
    'init_from': FromRow('base'),
    'a.rate': 1e-05,
    'a.text': '',
  }
  assert point_name('x', axes).startswith(
    'x,pattern=global_local_8,size=None,init_from=from_base,rate=1e-05,text='
  )


def test_two_fields_of_one_last_name_keep_their_sections():
  name = point_name('x', {'model.options.a': 1, 'data.options.a': 2})
  assert name == 'x,model.options.a=1,data.options.a=2'


def test_long_names_end_in_a_hash_and_stay_apart():
  names = point_names([('x', {'data.path': 'p' * 300 + end}) for end in 'ab'])
  assert len(set(names)) == 2
  assert max(map(len, names)) <= MAX_NAME


def test_the_later_of_two_equal_names_gets_a_hash():
  points = [('x', {'a': 'p/q'}), ('x', {'a': 'p_q'})]
  first, second = point_names(points)
  assert first == 'x,a=p_q' and second.startswith('x,a=p_q-')
  assert point_names([*points, ('y', {})])[:2] == [first, second]
