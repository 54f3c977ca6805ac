"""`gpt-jax plan`: tables, one JSON object, exit codes."""

import json

import pytest

from gpt_jax import cli
from tests import tiny_runs

CONFIG = [*tiny_runs.flags(), '--topology=cpu:2']


def test_a_plan_is_printed_and_given_as_json(tmp_path, capsys):
  path = tmp_path / 'step.hlo'
  assert cli.main(['plan', *CONFIG, '--json', f'--dump_hlo={path}']) == 0
  out = capsys.readouterr().out
  for line in (
    'attention kernel   dense',
    'activations',
    'largest buffers',
    'asynchronous: 0%',
    'fits: ',
    'MFU',
    'all-reduce',
  ):
    assert line in out
  assert 'not modelled: reading data' in out
  plan = json.loads(out.splitlines()[-1])
  assert plan['fits'] is True
  assert plan['num_devices'] == 2
  assert path.read_text().startswith('HloModule')


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--topology=v6:2x2'], 2, "did you mean 'v6e'?"),
    (['--topology=cpu:3'], 2, 'do not divide over 3 data shards'),
    (['--config.parallel.mesh.tensor=5'], 2, 'there are 2'),
    (['--config.data.source=text', '--config.tokenizer.name=char'], 2, 'vocab_size=N'),
    (['--dump_hlo=/nowhere/at/all'], 5, '--dump_hlo=/nowhere/at/all'),
    (['--topology=gpu'], 2, 'jax finds no GPU here'),
    (['--search=batch,remet'], 2, "did you mean 'remat'?"),
    (['--search', '--compare=cpu'], 2, 'give one of them'),
    (['--search', '--figure=x.png'], 2, '--figure: it belongs to a single plan'),
    (['--search', '--max_compiles=0'], 2, 'expected at least 1'),
    (['--figure=x.png'], 2, 'estimates no times'),
    (['--compare=v5e:2'], 2, 'expected 2 sizes for v5e'),
    (['--compare=nowhere.py'], 2, 'no such file'),
    (['--compare=model.remat=dot'], 2, "did you mean 'dots'?"),
  ],
)
def test_bad_input_has_its_exit_code(flags, code, expected, capsys):
  assert cli.main(['plan', *CONFIG, *flags]) == code
  assert expected in capsys.readouterr().err


def test_a_search_prints_flags_and_every_row_as_json(capsys):
  flags = ['--search=remat', '--max_compiles=1', '--json']
  assert cli.main(['plan', *CONFIG, *flags]) == 0
  out = capsys.readouterr().out
  assert 'fastest that fits:' in out
  rows = json.loads(out.splitlines()[-1])['rows']
  assert [row['outcome'] for row in rows[:2]] == ['fits', 'not compiled']
  assert rows[0]['flags'] in out
  assert rows[0]['plan']['fits'] is True


@pytest.mark.parametrize(
  'other',
  [
    pytest.param('cpu:1', marks=pytest.mark.slow),
    'model.remat=full,train.grad_accum=2',
  ],
)
def test_two_plans_are_compared(other, capsys):
  assert cli.main(['plan', *CONFIG, f'--compare={other}', '--json']) == 0
  out = capsys.readouterr().out
  assert 'second / first' in out
  plans = json.loads(out.splitlines()[-1])
  assert plans['first']['topology'] == 'cpu:2'
  assert plans['second']['topology'] == (other if other == 'cpu:1' else 'cpu:2')


def test_a_config_is_needed(capsys):
  assert cli.main(['plan', '--topology=cpu']) == 2
  assert '--config is missing' in capsys.readouterr().err


EXPERIMENT = '''"""Does it matter?"""
from gpt_jax.sweeps import Experiment, Size
from tests import tiny_runs

def get_experiment():
  return Experiment(
    base='base', rows={'one': {}, 'two': {'optimizer.learning_rate': 0.1}},
    overrides=tiny_runs.TINY,
    sizes={'quick': Size('two CPU cores', 1), 'paper': Size('cpu:2', 1, seeds=(3, 4))},
  )
'''


@pytest.fixture
def experiment(tmp_path):
  path = tmp_path / 'does_it.py'
  path.write_text(EXPERIMENT)
  return str(path)


@pytest.mark.slow
def test_every_point_of_an_experiment_is_priced(experiment, capsys):
  assert cli.main(['plan', experiment, '--json']) == 0
  *shown, last = capsys.readouterr().out.strip().splitlines()
  found = json.loads(last)
  assert found['topology'] == 'cpu:2' and found['size'] == 'paper'
  assert (found['num_points'], found['num_programs']) == (4, 1)
  assert found['chip_hours'] == pytest.approx(4 * found['points'][0]['chip_hours'])
  assert found['programs'][0]['fits'] is True
  assert any('1 programs for 4 points' in line for line in shown)


@pytest.mark.parametrize(
  'flags, expected',
  [
    (['--config=tiny'], '--config: it belongs to a plan for --config'),
    (['--search'], '--search: it belongs to a plan for --config'),
    (['--config.seed=1'], '--config.seed'),
    (['--size=huge'], '--size'),
    (['--size=quick'], "names no topology (machine='two CPU cores')"),
    (['--topology=cpu:x'], '--topology=cpu:x'),
  ],
)
def test_flags_of_a_single_plan_are_refused(flags, expected, experiment, capsys):
  assert cli.main(['plan', experiment, *flags]) == 2
  assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
  'flags, expected',
  [(['--size=quick'], 'belongs to an experiment file'), ([], '--topology is missing')],
)
def test_a_single_plan_has_flags_of_its_own(flags, expected, capsys):
  assert cli.main(['plan', '--config=tiny', *flags]) == 2
  assert expected in capsys.readouterr().err
