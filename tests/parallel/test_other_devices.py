"""A run resumes on fewer or more devices with the losses it would have had."""

import itertools

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.checkpoints import manager
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from gpt_jax.train import resume
from tests import tiny_runs


@pytest.mark.slow
def test_a_run_resumes_on_any_number_of_devices(tmp_path):
  overrides = {'optimizer.learning_rate': 1e-3, 'model.num_layers': 1}
  config = tiny_runs.tiny_config(overrides)
  vocab = objectives.Vocab(size=16, eos_id=None)
  programs = {
    n: build_program(
      config, vocab=vocab, mesh=make_mesh({'data': n}, jax.devices()[:n])
    )
    for n in (1, 2, 4, 8)
  }
  batch = {'tokens': np.random.default_rng(0).integers(0, 16, (8, 17), np.int32)}

  def ten_losses(program, state):
    losses = []
    for _ in range(10):
      state, metrics = program.step(state, batch)
      losses.append(float(metrics['loss']))
    return state, losses

  counts = [1, 2, 4, 8, 4, 2, 1]
  state, _ = ten_losses(programs[1], programs[1].init(0))
  with manager.Checkpoints(
    tmp_path, keep_last=1, keep_best=0, best_metric='', asynchronous=False
  ) as store:
    for number, (old, new) in enumerate(itertools.pairwise(counts), start=1):
      mesh = dict(programs[old].rules.mesh.shape)
      store.save(number, state.as_items(), dict(mesh=mesh))
      _, expected = ten_losses(programs[old], state)
      progress, origin = resume.restore_progress(programs[new], store, [])
      assert progress.step == number and 'not bit for bit' in origin.text
      state, losses = ten_losses(programs[new], progress.state)
      np.testing.assert_allclose(losses, expected, rtol=1e-5, err_msg=f'{old}->{new}')
