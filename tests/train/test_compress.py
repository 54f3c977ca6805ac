"""A compressed run is a run: smaller, scored, and not trained on as it is."""

import json

import numpy as np
import pytest

from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.train import resume
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


def compress(run, out, method, *flags):
  return cli.main(
    ['compress', f'--workdir={run}', f'--out={out}', f'--method={method}', *flags]
  )


def test_parameters_in_half_the_bytes_lose_nothing(plain_run, tmp_path, capsys):
  assert compress(plain_run, tmp_path / 'out', 'bfloat16', '--json') == 0
  found = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert found['bytes_after'] * 2 == found['bytes_before']
  assert abs(found['loss_after'] - found['loss_before']) < 0.01
  arrays = tiny_runs.saved_arrays(tmp_path / 'out')
  before = tiny_runs.saved_arrays(plain_run)
  for name, array in arrays.items():
    assert array.dtype.name == 'bfloat16'
    np.testing.assert_allclose(array.astype(np.float32), before[name], rtol=2**-8)
  (start,) = provenance.read_starts(Workdir(tmp_path / 'out'))
  assert start['compressed'] == 'bfloat16' and start['source'] == str(plain_run)


def test_what_cannot_be_is_refused(plain_run, tmp_path, capsys):
  out = tmp_path / 'out'
  assert compress(plain_run, out, 'bfloat16', '--no_loss') == 0
  with pytest.raises(CheckpointError, match='a model made smaller'):
    resume.refuse_imported(Workdir(out))
  assert compress(out, tmp_path / 'again', 'bfloat16') == 2
  assert 'as small already' in capsys.readouterr().err
  assert compress(plain_run, out, 'bfloat16') == StorageError.exit_code
  assert compress(plain_run, tmp_path / 'other', 'int99') == 2
  assert not (tmp_path / 'other').exists() and not (tmp_path / 'again').exists()
