"""Workdir and corpus in a bucket, on two nodes of a real SLURM: made, trained."""

import re

import pytest

from gpt_jax.launchers import supervise
from tests import tiny_runs
from tests.cluster import runs, servers, slurm

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]

STEPS = 200
TRAIN = tiny_runs.ONE_LAYER | {
  'data.source': 'prepared',
  'train.steps': STEPS,
  'eval.every_steps': 0,
  'checkpoint.every_steps': 40,
  'logging.every_steps': 10,
}


def has_saved(workdir):
  return bool(supervise.Reached.of(workdir).saved)


def launch(gpt_jax, *words):
  """Returns what a launch says that ends well."""
  variables = [*runs.FLAGS, *(f'--env={name}' for name in runs.BUCKET)]
  code, said = gpt_jax('launch', '--where=slurm', *variables, *words)
  assert code == 0, said
  return said


@pytest.fixture(scope='module')
def corpus(gpt_jax, nodes, bucket, text_file):
  """Returns the URL of a corpus that two tasks have prepared, each a half."""
  source = {'data.source': 'text', 'data.path': str(text_file)}
  prepare = ['prepare', *tiny_runs.flags(source), f'--out={bucket}/corpus']
  shared = ['--shards=2', '--cpus_per_task=1', '--wait', '--', *prepare]
  assert len(re.findall(r'job \d+_\d: completed', launch(gpt_jax, *shared))) == 2
  return f'{bucket}/corpus'


def test_a_run_in_a_bucket_survives_a_requeue(gpt_jax, bucket, corpus, tmp_path):
  train = ['--', 'train', *tiny_runs.flags(TRAIN | {'data.path': corpus})]
  whole, workdir = tmp_path / 'whole', f'{bucket}/requeued'
  processes = ['--processes=2', '--devices_per_process=1']
  code, said = gpt_jax('launch', *processes, *train, f'--workdir={whole}')
  assert code == 0, said

  flags = ['--nodes=2', f'--log_dir={tmp_path}', *train, f'--workdir={workdir}']
  job = runs.job_of(launch(gpt_jax, *flags))
  servers.until(lambda: has_saved(workdir), runs.DEADLINE, 'a save')
  slurm.call('scontrol', 'requeue', job)
  runs.wait_for(job, 'COMPLETED')
  assert 'start 2, on n[1-2]' in runs.text(tmp_path / f'slurm-{job}.log')
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(workdir, STEPS), tiny_runs.saved_arrays(whole, STEPS)
  )
