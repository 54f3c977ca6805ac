"""An exit of a model reads what a model of fewer layers would."""

import dataclasses

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.model import exits, stacking, statistics
from tests import small_models as small

SHAPES = {
  'scanned': dict(num_layers=3),
  'unrolled': dict(num_layers=3, scan_layers=False),
  'pattern': dict(num_layers=4, layer_pattern=('local:3', 'global'), norm='rmsnorm'),
  'post-norm': dict(num_layers=3, norm_position='post', remat='full'),
}


@pytest.mark.parametrize('name', ['pattern', *(
  pytest.param(name, marks=pytest.mark.slow) for name in SHAPES if name != 'pattern'
)])  # fmt: skip
def test_an_exit_gives_what_a_model_of_fewer_layers_gives(name):
  config = small.resolve(**{f'model__{k}': v for k, v in SHAPES[name].items()})
  model = small.make_gpt(config)
  params, tokens_BT = small.random_params(model), small.random_tokens()

  @small.jit
  def read(params):
    (x_BTD, *_), sown = model.clone(watched=exits.WATCHED).apply(
      {'params': params}, tokens_BT, method='hidden', mutable=[statistics.COLLECTION]
    )
    streams_LBTD = exits.stack(sown[statistics.COLLECTION], model.cfg)
    return x_BTD, exits.read(model.cfg, params, streams_LBTD)

  x_BTD, x_LBTD = read(params)
  np.testing.assert_allclose(x_LBTD[-1], x_BTD, atol=1e-5)
  cycle = len(model.cfg.layer_pattern)
  for depth in range(cycle, model.cfg.num_layers, cycle):
    shallow = model.clone(cfg=dataclasses.replace(model.cfg, num_layers=depth))
    first = exits.first_layers(shallow.cfg, params)
    wanted, *_ = small.jit(
      lambda params, model: model.apply({'params': params}, tokens_BT, method='hidden'),
      static_argnums=1,
    )(first, shallow)
    np.testing.assert_allclose(x_LBTD[depth - 1], wanted, atol=1e-5)


def test_first_layers_of_stacked_parameters_are_those_unrolled():
  params = small.random_params(small.make_gpt(small.resolve(model__num_layers=3)))
  cfg = small.model_config(num_layers=2)
  stacked = exits.first_layers(cfg, params)
  unrolled = exits.first_layers(cfg, stacking.unstack(params))
  small.assert_trees_close(stacking.unstack(stacked), unrolled)


@pytest.mark.parametrize(
  'depth, pattern, told',
  [
    (7, ('global',), 'the model has 6 layers; expected 1, 2, 3, 4, 5, 6'),
    (4, ('local:2', 'local:2', 'global'), 'expected 3, 6, whole cycles of the 3'),
  ],
)
def test_a_depth_that_the_model_cannot_end_at_is_refused(depth, pattern, told):
  with pytest.raises(ConfigError, match=f'inference.depth={depth}: .*{told}'):
    small.resolve(
      model__num_layers=6, model__layer_pattern=pattern, inference__depth=depth
    )
