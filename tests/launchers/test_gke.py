"""`launch --where=gke`: what kubectl is called with, and what is refused before."""

import json
import os
import pathlib
import shlex
import sys

import pytest
import yaml

from gpt_jax import cli
from gpt_jax.launchers import gke, jobset_progress
from gpt_jax.launchers.description import Description, Task
from gpt_jax.workdir import files

TRAIN = ['--', 'train', '--config=tiny', '--workdir=gs://my-bucket/runs/Gpt_2']
GKE = ['launch', '--where=gke', '--topology=v5e:4x4', '--image=i:1']
NAME = 'gpt-2'


@pytest.fixture
def cluster(tmp_path, monkeypatch):
  """Returns the folder of a kubectl that keeps what it is given."""
  tool = tmp_path / 'bin' / 'kubectl'
  tool.parent.mkdir()
  script = pathlib.Path(__file__).with_name('fake_kubectl.py')
  tool.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(script)])} "$@"\n')
  tool.chmod(0o755)
  monkeypatch.setenv('PATH', f'{tool.parent}{os.pathsep}{os.environ["PATH"]}')
  monkeypatch.setenv('FAKE_KUBECTL', str(tmp_path))
  monkeypatch.setattr(jobset_progress, 'POLL_SECONDS', 0.01)
  monkeypatch.setattr(files, 'check_writable', lambda directory: directory)
  return tmp_path


def calls(cluster):
  path = cluster / 'calls'
  return [json.loads(line) for line in path.read_text().splitlines()]


def objects(cluster):
  return json.loads((cluster / 'objects.json').read_text())


def test_dry_run_prints_the_manifest_that_launch_creates(cluster, capfd):
  assert cli.main([*GKE, '--dry_run', *TRAIN]) == 0
  shown = capfd.readouterr().out
  assert not (cluster / 'calls').exists()
  manifest = yaml.safe_load(shown.split("'END_OF_INPUT'\n")[1].split('END_OF_INPUT')[0])
  assert cli.main([*GKE, *TRAIN]) == 0
  assert objects(cluster) == {NAME: manifest}
  # Checked by the cluster before anything is created there.
  create = shlex.split(shown.splitlines()[0])[1:3]
  assert calls(cluster) == [[*create, '--dry-run=server'], create]
  assert f'kubectl delete jobset {NAME}' in capfd.readouterr().out


@pytest.mark.slow
def test_context_and_namespace_are_those_of_all_calls(cluster):
  flags = ['--context=gke_p_z_c', '--namespace=research']
  assert cli.main([*GKE, *flags, *TRAIN]) == 0
  assert all(call[:2] == flags for call in calls(cluster))
  assert objects(cluster)[NAME]['metadata']['namespace'] == 'research'


def test_a_jobset_that_exists_is_not_touched(cluster, capfd):
  assert cli.main([*GKE, *TRAIN]) == 0
  before = objects(cluster)
  assert cli.main([*GKE, '--spot', *TRAIN]) == 2
  assert objects(cluster) == before
  shown = capfd.readouterr().err
  assert 'already exists' in shown
  assert f'To replace it: kubectl delete jobset {NAME}; or give another --name' in shown


def test_each_point_of_a_sweep_is_a_jobset_of_its_own(cluster, capfd):
  tasks = [
    Task('seed=1', ('--a',)),
    Task('seed=2', ('--b',)),
    Task('after', (), needs=('seed=1',)),
  ]
  study = Description(('train',), 'A_study', topology='v5e:4x4', tasks=tuple(tasks))
  args = cli._parser().parse_args([*GKE, '--wait'])
  assert gke.problems(study, args) == []
  (cluster / 'story.json').write_text(json.dumps([dict(terminalState='Completed')]))
  assert gke.launch(study, args) == 0
  assert list(objects(cluster)) == [
    'a-study-seed-1',
    'a-study-seed-2',
    'a-study-after',
  ]
  shown = [manifest['spec']['replicatedJobs'] for manifest in objects(cluster).values()]
  commands = [
    job['template']['spec']['template']['spec']['containers'][0]['command']
    for (job,) in shown
  ]
  assert commands == [
    ['gpt-jax', 'train', '--a'],
    ['gpt-jax', 'train', '--b'],
    ['gpt-jax', 'train'],
  ]
  # What needs another is created when that has ended: somebody has to wait.
  args = cli._parser().parse_args(GKE)
  assert gke.problems(study, args) == [
    '--wait is missing: after needs seed=1, and somebody has to start it when that has'
    ' ended.'
  ]


@pytest.mark.parametrize(
  'state, codes, expected',
  [
    # The cause, not what it did to the others.
    ('Failed', [134, 2, 134], 2),
    pytest.param('Completed', [0, 0], 0, marks=pytest.mark.slow),
    pytest.param('Failed', [], 1, marks=pytest.mark.slow),
  ],
)
def test_wait_returns_how_the_run_ended(cluster, capfd, state, codes, expected):
  running = dict(status=dict(phase='Running'))
  pods = [
    dict(status=dict(containerStatuses=[dict(state=dict(terminated=dict(exitCode=c)))]))
    for c in codes
  ]
  (cluster / 'pods.json').write_text(json.dumps([running, *pods]))
  story = [{}, {}, dict(restarts=1), dict(restarts=1, terminalState=state)]
  (cluster / 'story.json').write_text(json.dumps(story))
  assert cli.main([*GKE, '--wait', *TRAIN]) == expected
  shown = capfd.readouterr()
  assert 'output of the first pod' in shown.out
  assert f'{NAME} starts again, restart 1' in shown.err


@pytest.mark.parametrize(
  'flags, expected',
  [
    (['--topology=v5e:4x5'], '--topology=v5e:4x5: no slice has this shape'),
    (['--topology='], '--topology is missing'),
    (['--image='], '--image is missing'),
    (['--name=Gpt_2'], '--name=Gpt_2: expected small letters'),
    ([f'--name={"a" * 50}'], 'with -slice-0-3-xxxxx after it 66'),
    (['--queue=Team A'], '--queue=Team A: expected small letters'),
    (['--spot', '--reservation=r'], 'reserved TPUs are no Spot VMs'),
    (['--max_restarts=-1'], '--max_restarts=-1: expected 0 or more'),
    (['--nodes=2', '--topology=3xv5e:4x4'], 'different numbers of slices'),
    (['--devices_per_process=2'], 'belongs to --where=local'),
  ],
)
def test_a_mistake_is_told_before_kubectl_is_called(cluster, capfd, flags, expected):
  assert cli.main([*GKE, *flags, *TRAIN]) == 2
  assert expected in capfd.readouterr().err
  assert not (cluster / 'calls').exists()


def test_all_mistakes_are_told_at_once(cluster, capfd):
  wrong = ['--topology=v5e', '--image=', '--name=A', '--', 'train', '--workdir=runs/x']
  assert cli.main(['launch', '--where=gke', *wrong]) == 2
  shown = capfd.readouterr().err
  for field in ('--topology=v5e', '--image', '--name=A', '--workdir=runs/x'):
    assert field in shown
  assert 'such as gs://BUCKET/x' in shown


def test_without_kubectl_its_packages_are_named(monkeypatch, tmp_path, capfd):
  monkeypatch.setenv('PATH', str(tmp_path))
  assert cli.main([*GKE, *TRAIN]) == 2
  shown = capfd.readouterr().err
  assert 'no kubectl on this machine' in shown and 'kubernetes-client' in shown
