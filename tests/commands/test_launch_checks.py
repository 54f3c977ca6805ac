"""Commands that cannot run elsewhere are refused before they wait there."""

import pytest

from gpt_jax.commands import launch_checks
from gpt_jax.core.errors import ConfigError, UserError

TRAIN = ['train', '--config=tiny', '--workdir=x']
ROWS = ['--config.train.batch_size=24', '--config.eval.batch_size=24']


@pytest.mark.parametrize(
  'command, nodes, devices, expected',
  [
    (['trian'], 1, None, 'did you mean train'),
    (['train', '--confg=tiny'], 1, None, 'did you mean --config'),
    (['train', '--config=tiny'], 1, None, 'required: --workdir'),
    (['launch', '--processes=2'], 1, None, 'a launcher starts no launcher'),
    (['eval', '--workdir=x'], 2, None, '--nodes=2: eval is a program of one process'),
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
