"""A program from its parts: what divides over the mesh, and what is refused."""

import jax
import pytest

from gpt_jax import objectives
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import flops
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

VOCAB = objectives.Vocab(size=257, eos_id=256)


def build(overrides=None, devices=1):
  config = tiny_runs.tiny_config(overrides)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(config, vocab=VOCAB, mesh=mesh)


@pytest.mark.parametrize('tensor, rows', [(1, 257), (2, 258), (4, 260)])
def test_the_vocabulary_is_padded_to_the_tensor_axis(tensor, rows):
  mesh = {'parallel.mesh.tensor': tensor, 'model.num_heads': 4}
  program = build(mesh, devices=4)
  assert program.config.model.vocab_size == rows
  assert program.abstract_state.params['embed']['embedding'].shape == (rows, 32)


def test_a_saved_embedding_is_sharded_where_it_divides():
  config = tiny_runs.tiny_config({'parallel.mesh.tensor': 2})
  for rows, per_device in ((257, 257), (260, 130)):
    program = build_program(config, vocab=VOCAB, embedding_rows=rows)
    embedding = program.abstract_state.params['embed']['embedding']
    assert embedding.shape == (rows, 32)
    assert embedding.sharding.shard_shape(embedding.shape)[0] == per_device


@pytest.mark.parametrize(
  'overrides, expected',
  [
    ({'model.vocab_size': 200}, r'model\.vocab_size=200: .* use 257 ids'),
    ({'train.batch_size': 12}, r'train\.batch_size=12: .* 8 data shards; try 8'),
    ({'train.grad_accum': 2}, r'microbatches of 4 rows .* try 16'),
    ({'eval.batch_size': 4}, r'eval\.batch_size=4: .* 8 data shards; try 8'),
    ({'parallel.mesh.tensor': 8}, r"'kv_heads' dimension of 2"),
    ({'parallel.mesh.tensor': 3}, r'multiple of 3 devices, and there are 8'),
  ],
)
def test_what_does_not_fit_the_mesh_names_its_field(overrides, expected):
  with pytest.raises(ConfigError, match=expected):
    build(overrides, devices=8)


def test_metrics_keep_the_order_of_the_config():
  # That of a set is another in each process, and with it the program to be compiled.
  for names in (
    ('top5_accuracy', 'macro_f1', 'calibration_error'),
    ('calibration_error', 'top5_accuracy', 'macro_f1'),
  ):
    assert tuple(build({'eval.metrics': names}).metrics) == names


def test_an_embedding_that_makes_no_logits_costs_no_flops():
  program = build({'objective.name': 'class_labels'})
  params = program.abstract_state.params
  N = pytree.count(params) - pytree.count(params['embed'])
  H_times_Q = program.config.model.d_model
  attention = 12 * program.config.model.num_layers * H_times_Q * 16
  assert flops.of_program(program) == 6 * N + attention
