"""An exit of a model reads what a model of fewer layers would."""

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
    cfg, first = exits.first_layers(model.cfg, params, depth)
    shallow = model.clone(cfg=cfg)
    wanted, *_ = small.jit(
      lambda params, model: model.apply({'params': params}, tokens_BT, method='hidden'),
      static_argnums=1,
    )(first, shallow)
    np.testing.assert_allclose(x_LBTD[depth - 1], wanted, atol=1e-5)


def test_first_layers_of_stacked_parameters_are_those_unrolled():
  model = small.make_gpt(small.resolve(model__num_layers=3))
  params = small.random_params(model)
  _, stacked = exits.first_layers(model.cfg, params, 2)
  _, unrolled = exits.first_layers(model.cfg, stacking.unstack(params), 2)
  small.assert_trees_close(stacking.unstack(stacked), unrolled)


def test_a_depth_that_no_cycle_of_layers_ends_at_is_refused():
  cfg = small.model_config(num_layers=6, layer_pattern=('local:2', 'local:2', 'global'))
  with pytest.raises(ConfigError, match=r'inference.depth=4: .* expected one of 3, 6'):
    exits.check_depth(cfg, 4)
  for depth in (0, 7):
    with pytest.raises(ConfigError, match='has 6 layers'):
      exits.check_depth(cfg, depth)
