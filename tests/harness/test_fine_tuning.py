"""Fine-tuning beside PyTorch: how steps are timed, and what is reported."""

import itertools

import pytest

from gpt_jax.harness import fine_tuning


def test_a_step_counts_with_the_median_of_its_width(monkeypatch):
  # Steps of 9, 1, 1, 5 and 2 seconds: the first of a width also compiles.
  ends = itertools.accumulate([0.0, 9.0, 1.0, 1.0, 5.0, 2.0])
  monkeypatch.setattr(fine_tuning.time, 'monotonic', lambda: next(ends))
  times = fine_tuning.StepTimes()
  for width in (17, 17, 17, 33, 33):
    times.add(width)
  assert times.seconds() == 3 * 1.0 + 2 * 3.5


def test_the_summary_has_means_deviations_and_the_ratio():
  rows = [
    dict(
      seed=seed,
      ours=dict(accuracy=0.8 + seed / 10, seconds=10.0),
      theirs=dict(accuracy=0.9, seconds=15.0),
    )
    for seed in (0, 1)
  ]
  found = fine_tuning.summary(rows)
  assert found['ours_accuracy'] == pytest.approx(0.85)
  assert found['ours_deviation'] == pytest.approx(0.1 / 2**0.5)
  assert (found['theirs_accuracy'], found['theirs_deviation']) == (0.9, 0.0)
  assert found['times_as_fast'] == pytest.approx(1.5)


@pytest.mark.extra
@pytest.mark.slow
def test_both_make_the_same_first_loss(tmp_path):
  """One row, no dropout, equal heads: the logits agree."""
  torch = pytest.importorskip('torch', reason='the peer is torch: make oracle')
  import jax
  import jax.numpy as jnp
  import numpy as np

  from gpt_jax.interop import open_model
  from gpt_jax.parallel.mesh import make_mesh
  from gpt_jax.program import setup, task_data
  from gpt_jax.program.forward import Forward
  from gpt_jax.train import start
  from tests.interop import encoders_of_torch
  from tests.tasks.wordpieces import wordpiece

  folder = tmp_path / 'bert'
  tokenizer = wordpiece('red', 'blue').library_model
  encoders_of_torch.make(
    'bert', 'BertModel', folder, vocab_size=tokenizer.get_vocab_size()
  )
  tokenizer.save(str(folder / 'tokenizer.json'))
  assert open_model.is_model(folder)
  files = tmp_path / 'train.tsv'
  files.write_text('red blue\t1\nblue\t0\n')
  overrides = {
    'init_from': str(folder), 'task.files': {'train': str(files)}, 'data.seq_len': 8,
    'model.dropout': 0.0, 'train.epochs': 1.0, 'train.batch_size': 2,
  }  # fmt: skip
  config = setup.resolve(fine_tuning.load_file(fine_tuning.RECIPE), overrides)
  config = task_data.complete(config)
  tokenizer = setup.open_tokenizer(config, tmp_path / 'run')
  data = task_data.open_training_data(config, tokenizer)
  config = fine_tuning.epochs.fill_in(config, data)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = setup.open_program(config, tokenizer, mesh)
  state, _ = start.starting_state(program, None, None)
  batch = fine_tuning._batch(data, range(2))
  example = program.objective(batch, jax.random.key(0))
  outputs = program.objective.outputs(Forward(program.model, state.params), example)
  ours = program.objective.predictions(outputs, example)['outputs']
  peer = fine_tuning._classifier(config).eval()
  with torch.no_grad():
    head = state.params['task_head']
    peer.head.weight.copy_(torch.tensor(np.asarray(head['kernel']).T))
    peer.head.bias.copy_(torch.tensor(np.asarray(head['bias'])))
    theirs, labels = peer(batch)
  np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
  targets = jnp.sum(example.targets_BT * (example.weights_BT > 0), axis=1)
  np.testing.assert_array_equal(targets, labels.numpy())
