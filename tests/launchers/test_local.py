"""This machine as a place: a node is a process."""

import argparse
import subprocess
import sys

import pytest

from gpt_jax.launchers import local
from gpt_jax.launchers.description import Description


def flags(*words, **common):
  parser = argparse.ArgumentParser()
  local.add_arguments(parser)
  parser.set_defaults(nodes=None, log_dir=None, max_restarts=10, **common)
  return parser.parse_args(words)


def test_nodes_are_processes():
  run = Description(('train',), 'mine', nodes=2)
  args = flags()
  args.nodes = 2
  assert local.problems(run, args) == []
  assert local.dry_run(run, args).count(f'{sys.executable} -m gpt_jax train') == 2
  args.processes = 3
  assert 'leave one of them out' in local.problems(run, args)[0]


def test_variables_of_a_run_reach_its_processes(monkeypatch, capfd):
  program = '-c "import os; print(os.environ[\'MINE\'])"'
  monkeypatch.setattr(sys, 'argv', ['gpt-jax'])
  run = Description(('--version',), 'mine', environment={'MINE': 'a b'})
  text = local.dry_run(run, flags('--processes=1'))
  told = text.replace('-m gpt_jax --version', program)
  subprocess.run(['bash'], input=told, text=True, check=True)
  assert capfd.readouterr().out == 'a b\n'


@pytest.mark.parametrize(
  'words, fields, expected',
  [
    ((), {}, '--processes is missing'),
    (('--processes=2', '--supervise'), {}, '--supervise: needs a run with --workdir'),
    (('--processes=2',), dict(topology='v5e-16'), '--topology=v5e-16: this machine'),
  ],
)
def test_a_mistake_is_told_with_a_way_out(words, fields, expected):
  (found,) = local.problems(Description(('train',), 'mine', **fields), flags(*words))
  assert expected in found
