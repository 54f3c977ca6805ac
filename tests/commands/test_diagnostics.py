"""The doctor: versions, devices, folders; a fix with all that is not in order."""

import dataclasses
import importlib.metadata
import json
import os

import jax
import numpy as np
import pytest

from gpt_jax.commands import diagnostics
from gpt_jax.workdir import lock as workdir_lock
from gpt_jax.workdir.paths import Workdir


def by_name(findings):
  return {finding.name: finding for finding in findings}


@pytest.fixture
def nothing_set(monkeypatch):
  for variable in ('GPT_JAX_DATA', 'TFDS_DATA_DIR'):
    monkeypatch.delenv(variable, raising=False)


def test_this_machine_passes_and_every_finding_has_a_detail(nothing_set, tmp_path):
  findings = by_name(diagnostics.examine(cache_dir=tmp_path / 'cache'))
  for name in ('python', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain'):
    assert findings[name].status == diagnostics.OK
  assert findings['jax'].detail.startswith(jax.__version__)
  assert findings['devices'].detail.startswith('8 cpu')
  assert findings['matmul'].status == diagnostics.OK
  assert {'extra [cuda]', 'extra [test]', 'disk', 'memory'} <= findings.keys()
  for finding in findings.values():
    assert finding.detail and finding.status in (
      diagnostics.OK,
      diagnostics.WARN,
      diagnostics.FAIL,
    )
    assert finding.fix or finding.status == diagnostics.OK


@pytest.mark.parametrize(
  ('requirement', 'status', 'detail'),
  [
    ('numpy', diagnostics.OK, np.__version__),
    ('numpy>=1.0', diagnostics.OK, 'expected 1.0 or newer'),
    ('numpy>=99.1', diagnostics.FAIL, 'expected 99.1 or newer'),
    ('no-such-package-here>=1', diagnostics.FAIL, 'missing'),
    ('jax[cuda]>=0.10', diagnostics.OK, jax.__version__),
  ],
)
def test_versions_are_compared_with_the_requirements(requirement, status, detail):
  finding = diagnostics.package(requirement)
  assert finding.status == status and detail in finding.detail
  assert (status == diagnostics.OK) or requirement in finding.fix


def test_versions_are_compared_as_numbers():
  assert diagnostics.numbers('0.10.2') > diagnostics.numbers('0.9.11')
  assert diagnostics.numbers('2.1.0rc1+local') == (2, 1, 0)


def test_requirements_come_from_the_installed_package(monkeypatch):
  lines = ['jax>=0.10', "torch; extra == 'compare'", 'wandb>=1; extra == "wandb"']
  monkeypatch.setattr(diagnostics.importlib.metadata, 'requires', lambda name: lines)
  found = diagnostics.requirements()
  assert found == (['jax>=0.10'], {'compare': ['torch'], 'wandb': ['wandb>=1']})


def test_a_clone_that_is_not_installed_is_a_warning(monkeypatch):
  def requires(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(diagnostics.importlib.metadata, 'requires', requires)
  assert diagnostics.requirements() == ([], {})
  assert diagnostics._installation([]).status == diagnostics.WARN
  assert diagnostics._installation(['jax']).status == diagnostics.OK


def test_a_device_that_computes_wrong_fails(monkeypatch):
  monkeypatch.setattr(jax, 'jit', lambda f: lambda x: f(x) + 1)
  finding = diagnostics._matmul()
  assert finding.status == diagnostics.FAIL and 'wrong' in finding.detail


def test_a_gpu_that_jax_does_not_see_is_a_warning_with_the_extra(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', '')
  monkeypatch.setattr(diagnostics.host, 'accelerator', lambda: ('cuda', 'a GPU'))
  assert 'gpt_jax[cuda]' in diagnostics._devices().fix


SLURM = dict(
  SLURM_JOB_ID='1',
  SLURM_NTASKS='2',
  SLURM_PROCID='1',
  SLURM_STEP_NODELIST='localhost,n2',
)


@pytest.mark.parametrize(
  ('variables', 'status', 'detail'),
  [
    ({}, diagnostics.OK, 'alone: no variable of a launcher is set'),
    (dict(SLURM_JOB_ID='1'), diagnostics.OK, 'alone: SLURM_JOB_ID is set, but'),
    (
      SLURM,
      diagnostics.OK,
      '1 (n2) of 2, process 0 listens at localhost:61441; slurm: SLURM_STEP_NODELIST=',
    ),
    (
      SLURM | dict(SLURM_STEP_NODELIST='no.such.host.invalid,n2'),
      diagnostics.WARN,
      '; no.such.host.invalid: ',
    ),
    (dict(RANK='1', WORLD_SIZE='2'), diagnostics.FAIL, 'MASTER_ADDR and MASTER_PORT'),
  ],
)
def test_the_run_that_this_process_belongs_to_is_told(
  monkeypatch, variables, status, detail
):
  monkeypatch.setattr(os, 'environ', dict(variables))
  finding = diagnostics._processes()
  assert finding.status == status and detail in finding.detail
  assert bool(finding.fix) == (status != diagnostics.OK)


def test_missing_folders_fail_or_warn(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  assert diagnostics._cache(tmp_path / 'file').status == diagnostics.WARN
  monkeypatch.setenv('GPT_JAX_DATA', str(tmp_path / 'none'))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  data, tfds = diagnostics._data_sets()
  assert data.status == diagnostics.FAIL and 'GPT_JAX_DATA' in data.fix
  assert tfds.status == diagnostics.OK and 'file' in tfds.detail


def test_a_run_is_checked_without_being_changed(finished_run, tmp_path):
  before = sorted(p.name for p in finished_run.rglob('*'))
  folder, last = diagnostics._workdir(finished_run)
  assert (folder.status, last.status) == (diagnostics.OK, diagnostics.OK)
  assert last.detail.startswith('6,')
  assert sorted(p.name for p in finished_run.rglob('*')) == before
  assert diagnostics._workdir(tmp_path / 'none')[0].status == diagnostics.WARN
  assert diagnostics._workdir(tmp_path)[0].status == diagnostics.WARN
  (tmp_path / 'config.json').write_text('{}')
  assert diagnostics._workdir(tmp_path)[-1].status == diagnostics.WARN
  (tmp_path / 'config.json').write_text('{')
  assert diagnostics._workdir(tmp_path)[0].status == diagnostics.FAIL


def test_the_owner_of_a_lock_is_named_and_whether_it_is_gone(tmp_path):
  assert diagnostics._lock(Workdir(tmp_path)) == []
  with workdir_lock.held(tmp_path) as me:
    (lock,) = diagnostics._lock(Workdir(tmp_path))
    assert (lock.status, lock.detail) == (diagnostics.WARN, f'held by {me}')
  path = tmp_path / workdir_lock.FILE
  gone = dataclasses.replace(me, born='1')
  path.write_text(json.dumps(dataclasses.asdict(gone)))
  (lock,) = diagnostics._lock(Workdir(tmp_path))
  assert lock.status == diagnostics.OK and f'left by {gone}' in lock.detail
  elsewhere = dataclasses.replace(me, host='elsewhere')
  path.write_text(json.dumps(dataclasses.asdict(elsewhere)))
  (lock,) = diagnostics._lock(Workdir(tmp_path))
  assert (lock.status, lock.detail) == (diagnostics.WARN, f'held by {elsewhere}')
  path.write_text('{"pid": 7}')
  (lock,) = diagnostics._lock(Workdir(tmp_path))
  assert lock.status == diagnostics.WARN and str(path) in lock.fix
