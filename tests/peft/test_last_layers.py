"""The method `last_layers` trains what `optimizer.train_last_layers` does."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import last_layers
from tests import tiny_runs
from tests.peft import adapted_models

UNROLLED = {'model.scan_layers': False}


@pytest.mark.parametrize(
  'count, fields',
  [(0, {'model.tie_embeddings': False}), (1, {}), (2, {'model.scan_layers': True})],
)
def test_the_same_trains_as_by_the_field_of_the_optimizer(count, fields):
  fields = UNROLLED | fields
  by_method = {'peft.options.layers': count}
  by_optimizer = {'optimizer.train_last_layers': count}
  method = adapted_models.build('last_layers', fields | by_method)
  optimizer = adapted_models.build(None, fields | by_optimizer)
  assert method.frozen == optimizer.frozen
  state = adapted_models.state_of(method)
  other = adapted_models.state_of(optimizer)
  state, losses = adapted_models.steps(method, state)
  other, others = adapted_models.steps(optimizer, other)
  np.testing.assert_array_equal(losses, others)
  tiny_runs.assert_same(tiny_runs.named(state.params), tiny_runs.named(other.params))


def config(overrides):
  fields = {'peft.name': 'last_layers', 'model.vocab_size': 32}
  return tiny_runs.tiny_config(fields | overrides)


@pytest.mark.parametrize(
  'count, message',
  [(1, 'set model.scan_layers=False'), (3, 'expected at most that')],
)
def test_layers_that_cannot_be_parted_are_refused(count, message):
  with pytest.raises(ConfigError, match=f'peft.options.layers={count}: .*{message}'):
    config({'peft.options.layers': count})


def test_a_probe_needs_a_head_of_its_own():
  fields = {'peft.options.layers': 0, 'model.tie_embeddings': True}
  with pytest.raises(ConfigError, match='nothing would train.*task head'):
    last_layers.make(config(fields))
  fields['objective.name'] = 'token_labels'
  assert not last_layers.make(config(fields)).trains('final_norm/scale')
