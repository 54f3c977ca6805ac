"""A real training run on workers of the fake cloud: preempted, it ends bit-equal."""

import subprocess
import threading
import time

import pytest

from gpt_jax import cli
from gpt_jax.launchers import code_archive, queued_resource, tpu_supervision
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.launchers import tpu_cloud

STEPS = 40
OVERRIDES = {'train.steps': STEPS, 'checkpoint.keep_last': STEPS}


@pytest.fixture
def clone(tmp_path, monkeypatch):
  """Returns a Checkout of this code's last commit; it is the current folder."""
  if code_archive.checkout_of(tiny_runs.ROOT) is None:
    pytest.skip('needs the repository of this code: it is copied at its commit')
  words = [
    'git',
    'clone',
    '-q',
    '--shared',
    str(tiny_runs.ROOT),
    str(tmp_path / 'clone'),
  ]
  subprocess.run(words, check=True)
  monkeypatch.chdir(tmp_path / 'clone')
  monkeypatch.setattr(code_archive, 'CODE', tmp_path / 'clone')
  return code_archive.checkout_of(tmp_path / 'clone')


@pytest.mark.slow
def test_a_preempted_training_run_ends_bit_equal(clone, tmp_path, monkeypatch, capfd):
  cloud = tmp_path / 'cloud'
  cloud.mkdir()
  tpu_cloud.install(cloud, monkeypatch, tpu_cloud.REAL)
  monkeypatch.setattr('tempfile.tempdir', str(cloud))
  monkeypatch.setattr(queued_resource, 'POLL_SECONDS', 0.01)
  monkeypatch.setattr(tpu_supervision, 'RETRY_SECONDS', 0.01)
  workdir = tmp_path / 'run'  # a folder that all hosts mount

  def preempt():
    while not (workdir / 'checkpoints' / '6').exists():
      time.sleep(0.02)
    (cloud / 'run.story').write_text('SUSPENDING SUSPENDED')
    (cloud / 'preempted').write_text('run')

  thread = threading.Thread(target=preempt, daemon=True)
  thread.start()
  flags = ['--where=tpu_vm', '--topology=v5e:2x4', '--spot', '--wait']
  flags += ['--env=JAX_PLATFORMS=cpu', '--env=XLA_FLAGS']
  train = ['train', *tiny_runs.flags(OVERRIDES), f'--workdir={workdir}']
  assert cli.main(['launch', *flags, '--', *train]) == 0
  thread.join()
  shown = capfd.readouterr()
  assert 'preempted: the machines were taken away' in shown.err
  assert tpu_cloud.verbs(cloud).count('create') == 2

  starts = provenance.read_starts(Workdir(workdir))
  assert len(starts) == 2
  # The workers have no repository: run.json has the commit that was copied to them.
  assert {start['git']['commit'] for start in starts} == {clone.commit}
  # The same program, as other workers run it: XLA's flags of the tests are others.
  train[-1] = f'--workdir={tmp_path / "straight"}'
  assert cli.main(['launch', *flags, '--', *train]) == 0
  assert len(provenance.read_starts(Workdir(tmp_path / 'straight'))) == 1
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(workdir, STEPS),
    tiny_runs.saved_arrays(tmp_path / 'straight', STEPS),
  )
