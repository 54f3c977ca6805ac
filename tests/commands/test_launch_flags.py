"""Flags of places: each belongs to its place, and a sweep here takes none of them."""

import argparse

import pytest

from gpt_jax.commands import launch_flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers import PLACES
from tests.launchers import fake_slurm


def add_all(parser):
  launch_flags.add_arguments(parser)
  launch_flags.add_at_once(parser)


def parsed(*words, add=add_all):
  parser = argparse.ArgumentParser()
  add(parser)
  parser.set_defaults(dry_run=True)
  return parser.parse_args(words)


def test_all_problems_are_told_at_once():
  args = parsed(
    '--where=slurm', '--processes=2', '--env=x', '--time=y', '--nodes=0', '--at_once=0'
  )
  args.max_restarts = -1
  with pytest.raises(ConfigError) as error:
    launch_flags.describe(args, ['train'])
  lines = str(error.value).splitlines()
  assert [line.partition(':')[0] for line in lines] == [
    '--env=x',
    '--nodes=0',
    '--at_once=0',
    '--processes',
    '--time=y',
    '--max_restarts=-1',
  ]


@pytest.mark.parametrize('name', sorted(PLACES))
def test_a_place_refuses_flags_of_another(name):
  other = 'local' if name != 'local' else 'slurm'
  flag = {'local': '--processes=2', 'slurm': '--partition=p'}[other]
  with pytest.raises(ConfigError, match=f'belongs to --where={other}'):
    launch_flags.describe(parsed(f'--where={name}', flag), ['train'])


def test_a_sweep_here_refuses_flags_of_a_cluster():
  add = launch_flags.add_to_sweep
  assert not launch_flags.is_elsewhere(parsed(add=add))
  assert launch_flags.is_elsewhere(parsed('--where=slurm', '--nodes=2', add=add))
  with pytest.raises(ConfigError, match='--at_once: of a sweep on a cluster'):
    launch_flags.is_elsewhere(parsed('--at_once=2', add=add))


def test_a_description_has_what_the_flags_say(tmp_path, monkeypatch):
  fake_slurm.Programs(tmp_path, monkeypatch)
  args = parsed('--where=slurm', '--nodes=2', '--env=A=1')
  _, found = launch_flags.describe(args, ['train', '--workdir=runs/mine'])
  assert (found.name, found.workdir, found.nodes) == ('mine', 'runs/mine', 2)
  assert found.environment == {'A': '1'}
