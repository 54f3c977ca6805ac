"""`gpt-jax plan`: tables for people, one JSON object for programs, exit codes."""

import json

import pytest
import tiny_runs

from gpt_jax import cli

CONFIG = [*tiny_runs.flags(), '--topology=cpu:2']


def test_a_plan_is_printed_and_given_as_json(tmp_path, capsys):
  path = tmp_path / 'step.hlo'
  assert cli.main(['plan', *CONFIG, '--json', f'--dump_hlo={path}']) == 0
  out = capsys.readouterr().out
  for line in (
    'attention kernel   dense',
    'temporaries',
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
  ],
)
def test_bad_input_ends_in_its_exit_code(flags, code, expected, capsys):
  assert cli.main(['plan', *CONFIG, *flags]) == code
  assert expected in capsys.readouterr().err


def test_a_config_is_needed(capsys):
  assert cli.main(['plan', '--topology=cpu']) == 2
  assert '--config is missing' in capsys.readouterr().err
