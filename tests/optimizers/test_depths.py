"""Names of parameters say how deep they lie."""

import pytest

from gpt_jax import objectives
from gpt_jax.core import pytree
from gpt_jax.optimizers import depths
from gpt_jax.program import build
from tests import tiny_runs


@pytest.mark.parametrize(
  'name, expected',
  [
    ('layers/block_1/mlp/up/kernel', depths.Place(None, 1)),
    ('layers_12/block_0/attention/out/bias', depths.Place(12, 0)),
    ('layers_3/mlp/up/kernel', depths.Place(3, 0)),
    ('embed/embedding', None),
    ('task_head/pooler_kernel', None),
  ],
)
def test_a_name_says_the_place_of_its_layer(name, expected):
  assert depths.place(name) == expected


def test_the_cycle_has_as_many_blocks_as_the_pattern():
  names = ['layers_0/block_0/a', 'layers_0/block_2/a', 'final_norm/scale']
  assert depths.cycle_length(names) == 3
  assert depths.cycle_length(['final_norm/scale']) == 1


def test_every_parameter_of_a_classifier_has_its_place():
  config = tiny_runs.tiny_config(
    {
      'objective.name': 'class_labels',
      'objective.head': 'mlp',
      'model.position': 'learned',
      'model.token_types': 2,
      'model.norm_position': 'post',
      'model.pooler': True,
    }
  )
  vocab = objectives.Vocab(size=20, eos_id=0)
  program = build.build_program(config, vocab=vocab)
  names = [name for name, _ in pytree.named_leaves(program.abstract_state.params)]
  kinds = {
    'embeddings': [n for n in names if depths.EMBEDDINGS.search(n)],
    'layers': [n for n in names if depths.place(n)],
    'heads': [n for n in names if depths.HEADS.search(n)],
  }
  assert sorted(sum(kinds.values(), [])) == sorted(names)  # each once
  assert {n.split('/')[0] for n in kinds['embeddings']} == {
    'embed', 'embed_norm', 'position', 'token_type',
  }  # fmt: skip
  assert {n.split('/')[0] for n in kinds['heads']} == {'task_head', 'pooler'}
