"""A field of an experiment that holds something else is told by name."""

import pytest

from gpt_jax.sweeps import Claim, Experiment, Figure, Line, Range, Size, shapes, vary

SWEEP = ({'model.dropout': 0.1}, {'model.dropout': 0.2})


def experiment(of_size=None, **fields):
  size = Size('two CPU cores', 1, **(of_size or {}))
  return Experiment('tiny', **{'sizes': {'quick': size}, **fields})


@pytest.mark.parametrize(
  'of_size, told',
  [
    (dict(sweep={'seed': 1}), "sizes['quick']: sweep={'seed': 1}: expected settings"),
    (dict(sweep=SWEEP[0]), 'with its comma'),
    (dict(sweep=(vary('seed', 1), vary('seed', 2))), 'two axes: product(a, b)'),
    (dict(only_rows='rope'), "only_rows='rope': expected a tuple of texts, not str"),
    (dict(overrides=['a']), "overrides=['a']: expected a dict of overrides"),
    (dict(rows={'a': 3}), "rows['a']=3: expected a dict of overrides"),
    (dict(seeds=(0, 'b')), "seeds[1]='b': expected a whole number, not str"),
    (dict(base=3), 'base=3: expected the name of a config'),
  ],
)
def test_a_size_of_other_types_is_told(of_size, told):
  (mistake,) = shapes.mistakes_of(experiment(of_size))
  assert told in mistake.text
  assert mistake.anchors[:2] == ('sizes', 'quick')


@pytest.mark.parametrize(
  'fields, told',
  [
    (dict(rows=None), 'rows=None: expected a dict'),
    (dict(rows={3: {}}), 'rows[3]: expected a name'),
    (dict(sizes={'quick': {}}), "sizes['quick']={}: expected a Size, not dict"),
    (dict(columns=['a']), "columns=['a']: expected a dict"),
    (dict(columns={'a': 3}), "columns['a']=3: expected a metric or a function"),
    (dict(at_best='seed'), 'a tuple of one ends in a comma'),
    (dict(search={'seed': (1, 2)}), 'expected a Range, not tuple'),
    (dict(search={'seed': Range('a', 2)}), "low='a': expected a number"),
    (dict(claims=(Claim('c', 't', 's', 'floor', 'C', version=1.5),)), "claim 'c': ver"),
    (dict(figures=(Figure('f', 'x', log_x=3),)), "figure 'f': log_x=3: expected True"),
    (dict(figures=(Figure('f', 'x', lines=(Line('l', 'a', ''),)),)), "line 'l': value"),
  ],
)
def test_an_experiment_of_other_types_is_told(fields, told):
  (mistake,) = shapes.mistakes_of(experiment(**fields))
  assert told in mistake.text


def test_lists_and_ranges_will_do_for_tuples():
  sized = dict(seeds=range(3), sweep=list(SWEEP), only_rows=['base'])
  assert shapes.mistakes_of(experiment(sized, claims=[])) == []
