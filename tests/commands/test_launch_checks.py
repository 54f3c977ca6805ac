"""Commands that cannot run elsewhere are refused before they wait there."""

import pytest

from gpt_jax.commands import COMMANDS, launch_checks
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import PLACES

TRAIN = ['train', '--config=tiny', '--workdir=x']
ROWS = ['--config.train.batch_size=24', '--config.eval.batch_size=24']


@pytest.mark.parametrize(
  'command, nodes, devices, expected',
  [
    (['trian'], 1, None, 'did you mean train'),
    (['train', '--confg=tiny'], 1, None, 'did you mean --config'),
    (['train', '--config=tiny'], 1, None, 'required: --workdir'),
    (['launch', '--processes=2'], 1, None, 'a launcher starts no launcher'),
    (['prepare', '--config=tiny'], 1, None, '--out is missing'),
    (['prepare', '--config=tiny', '--out=x', '--shard=5/4'], 1, None, '1/4 to 4/4'),
    ([*TRAIN, '--config.train.stps=1'], 1, None, 'train.stps'),
    ([*TRAIN, '--config.parallel.mesh.data=4'], 3, None, 'do not divide over 3 nodes'),
    ([*TRAIN, '--config.parallel.mesh.data=4'], 2, 16, 'needs 4 devices'),
    ([*TRAIN, *ROWS], 2, 16, 'train.batch_size=24: .* 16 data shards; try'),
    ([*TRAIN, '--config.parallel.mesh.data=3'], 3, None, 'over 3 data shards; try'),
  ],
)
def test_a_mistake_is_told_before_it_waits(command, nodes, devices, expected):
  with pytest.raises(UserError, match=expected):
    launch_checks.require_runnable(command, nodes, devices)


def test_a_mesh_that_takes_what_there_is_fits():
  launch_checks.require_runnable([*TRAIN, *ROWS], 3, 24)
  launch_checks.require_runnable([*TRAIN, *ROWS, '--config.parallel.mesh.fsdp=3'], 2, 6)
  launch_checks.require_runnable([*TRAIN, '--config.train.batch_size=7'], 2)  # unknown
  with pytest.raises(ConfigError, match='a multiple of 5 devices'):
    launch_checks.require_runnable([*TRAIN, '--config.parallel.mesh.fsdp=5'], 2, 6)


@pytest.mark.parametrize('where', sorted(PLACES))
@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_several_processes_do_what_makes_sense_or_are_refused(name, where):
  found = launch_checks.several_problems([name], 4, where)
  assert launch_checks.several_problems([name], 1, where) == []
  if name in ('train', 'eval', 'prepare', 'doctor'):
    assert found == []
  elif name != 'sweep':
    assert f'-- {name}: is a program of one process, and 4' in found[0]
  elif where in ('local', 'slurm'):
    assert found == []
  else:
    assert f'gpt-jax sweep FILE --where={where} trains each point' in found[0]
    assert launch_checks.several_problems([name, '--join'], 4, where) == []


def test_a_share_of_a_corpus_is_of_one_process():
  given = ['prepare', '--out=x', '--shard=1/2']
  assert launch_checks.several_problems(given, 1, 'slurm') == []
  (found,) = launch_checks.several_problems(given, 2, 'slurm')
  assert '--shard=1/2: all 2 processes of a task would make that share' in found
  assert launch_checks.several_problems(['prepare', '--shard_mb=1'], 2, 'slurm') == []
