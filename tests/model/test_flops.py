"""Counts of parameters and FLOPs against published ones and the compiled program."""

import dataclasses

import flax.linen as nn
import jax
import pytest

from gpt_jax import objectives
from gpt_jax.attention import bind, dense
from gpt_jax.config.files import load_file
from gpt_jax.core import dot_flops, pytree
from gpt_jax.hlo import costs
from gpt_jax.model import flops, positions
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import setup
from gpt_jax.program.build import build_program
from tests import small_models as small
from tests import tiny_runs
from tests.model.test_gpt import VARIANTS

PUBLISHED = {
  'gpt2.py:124m': 124_439_808,
  'gpt2.py:355m': 354_823_168,
  'gpt2.py:774m': 774_030_080,
  'gpt2.py:1558m': 1_557_611_200,
  'gpt3.py:125m': 125_226_240,
  'gpt3.py:350m': 355_871_744,
  'gpt3.py:760m': 760_300_032,
  'gpt3.py:1.3b': 1_315_723_264,
  'gpt3.py:1.3b_as_printed': 1_517_123_584,
  'gpt3.py:2.7b': 2_651_553_280,
  'gpt3.py:6.7b': 6_658_404_352,
  'gpt3.py:13b': 12_853_386_240,
  'gpt3.py:13b_as_printed': 12_936_488_380,
  'gpt3.py:175b': 174_604_259_328,
  'llama.py:1b': 1_100_048_384,
  'llama.py:7b': 6_738_415_616,
}


ENCODERS = {
  'base': 109_482_240,
  'large': 335_141_888,
  'distilbert': 66_362_880,
  'minilm': 22_713_216,
}


def shipped(spec, **model_fields):
  """Returns the ModelConfig of a shipped config, its vocabulary not padded."""
  config = setup.resolve(load_file(f'configs/{spec}'))
  return dataclasses.replace(config.model, **model_fields)


@pytest.mark.slow
@pytest.mark.parametrize('spec', PUBLISHED)
def test_parameter_counts_are_the_published_ones(spec):
  cfg = shipped(spec)
  assert flops.parameter_count(cfg) == PUBLISHED[spec]
  assert pytree.count(flops.abstract_params(cfg)) == PUBLISHED[spec]


@pytest.mark.slow
@pytest.mark.parametrize('size', ENCODERS)
def test_encoders_count_as_published(size):
  cfg = shipped(f'bert.py:{size}', vocab_size=30522)
  has_pooler = size != 'distilbert'
  bare = dataclasses.replace(cfg, head='none', head_bias=False, pooler=has_pooler)
  assert flops.parameter_count(bare) == ENCODERS[size]
  width = cfg.d_model
  dense, norm, bias = width * width + width, 2 * width, 30522
  head = dense * (not has_pooler) + norm + bias  # of the size of the pooler
  assert flops.parameter_count(cfg) == ENCODERS[size] + head


def test_an_attention_only_layer_has_a_norm_and_four_matrices():
  cfg = small.model_config(block='attention_only', d_model=12, num_kv_heads=1)
  per_layer = 2 * 12 + (12 * 12 + 12) * 2 + (12 * 3 + 3) * 2  # heads of 3
  embeddings = 16 * 12 + 8 * 12 + 2 * 12
  assert flops.parameter_count(cfg) == 2 * per_layer + embeddings
  matmuls = 2 * 2 * (12 * 12 + 12 * 3) + 16 * 12
  assert flops.matmul_parameters(cfg) == matmuls


@pytest.mark.slow
def test_parameters_are_counted_the_same_scanned_or_unrolled():
  for overrides in VARIANTS.values():
    cfg = small.model_config(**overrides, scan_layers=False)
    assert flops.parameter_count(cfg) == pytree.count(flops.abstract_params(cfg))


def test_reading_an_embedding_is_no_matmul():
  tied, untied = (small.model_config(tie_embeddings=tie) for tie in (True, False))
  assert flops.matmul_parameters(tied) == flops.matmul_parameters(untied)
  assert flops.parameter_count(untied) - flops.parameter_count(tied) == 16 * 16


@pytest.fixture(scope='module')
def nanogpt_small():
  return shipped('gpt2.py:124m', bias=False, norm_bias=False)


def test_gpt2_small_without_biases_has_nanogpts_count_and_flops(nanogpt_small):
  assert flops.parameter_count(nanogpt_small) == 124_337_664
  assert flops.forward_flops(nanogpt_small, 1024) == 291_648_307_200
  assert flops.flops_per_token(nanogpt_small, 1024) * 1024 == 874_944_921_600
  assert flops.palm_flops_per_token(nanogpt_small, 1024) * 1024 == 875_062_886_400


def test_causal_counting_is_the_mean_over_what_each_query_sees(nanogpt_small):
  T = 16
  full = flops.forward_flops(nanogpt_small, T)
  causal = flops.forward_flops(nanogpt_small, T, causal=True)
  width, layers = 768, 12
  assert full - causal == 4 * layers * width * (T * T - T * (T + 1) // 2)


@pytest.mark.parametrize('window,T', [(1, 8), (3, 8), (8, 8), (20, 8)])
def test_local_layers_count_their_window_only(window, T):
  dense, local = (
    small.model_config(layer_pattern=(layer,))
    for layer in ('global', f'local:{window}')
  )
  pairs = sum(min(t + 1, window) for t in range(T))
  saved = T * (T + 1) // 2 - pairs
  difference = flops.forward_flops(dense, T, True) - flops.forward_flops(local, T, True)
  assert difference == 4 * dense.num_layers * dense.d_model * saved
  assert flops.forward_flops(local, T) == flops.forward_flops(dense, T)


@pytest.mark.parametrize('name', ['gpt2', 'llama', 'palm', 'gemma'])
def test_matmul_flops_equal_those_in_the_traced_program(name):
  cfg = small.model_config(**VARIANTS[name] | dict(scan_layers=False))
  B, T = 3, 8
  model = GPT(cfg, attend=bind(dense.attend, cfg))
  found = dot_flops.of_function(
    lambda params, tokens: model.apply({'params': params}, tokens)[0],
    flops.abstract_params(cfg),
    jax.ShapeDtypeStruct((B, T), 'int32'),
  )
  assert found == B * flops.forward_flops(cfg, T)


class Mixed(nn.Module):
  """Sinusoids through a matrix of its own, which is no `kernel`."""

  @nn.compact
  def __call__(self, x_BTD):
    D = x_BTD.shape[-1]
    mixing_DD = self.param('mixing', nn.initializers.zeros, (D, D))
    return x_BTD @ mixing_DD


MIXED = positions.Position(
  embed=lambda cfg, at_BT: Mixed(name='position')(positions.sinusoids(cfg, at_BT))
)


def test_matrices_of_plug_ins_count_under_any_name():
  plain = small.model_config(position='none')
  mixed = small.model_config(position=f'{__name__}:MIXED')
  more = flops.matmul_parameters(mixed) - flops.matmul_parameters(plain)
  assert more == plain.d_model**2


FREEZING = {
  'lora': {'peft.name': 'lora', 'peft.options.rank': 4},
  'lora_of_mlps': {
    'peft.name': 'lora', 'peft.options.rank': 4, 'peft.options.targets': 'mlp',
  },
  'nf4': {
    'peft.name': 'lora', 'peft.options.rank': 4, 'peft.base_storage': 'nf4',
  },
  'adapters': {'peft.name': 'adapters', 'peft.options.size': 8},
  'bitfit': {'peft.name': 'bitfit'},
  'last_layers': {'peft.name': 'last_layers', 'peft.options.layers': 1},
  'groups': {'optimizer.groups': [{'match': 'layers_[01]|embed', 'freeze': True}]},
  'p_tuning_v2': {'peft.name': 'p_tuning_v2', 'peft.options.length': 4},
}  # fmt: skip
SHAPE = {
  'model.scan_layers': False,
  'model.num_layers': 3, 'model.d_model': 64, 'model.num_heads': 4, 'model.bias': True,
  'model.tie_embeddings': False, 'attention.kernel': 'dense', 'objective.loss': 'plain',
}  # fmt: skip


def frozen_program(name):
  config = tiny_runs.tiny_config(SHAPE | FREEZING[name])
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  return build_program(config, vocab=objectives.Vocab(size=32, eos_id=0), mesh=mesh)


@pytest.mark.slow
@pytest.mark.parametrize('name', FREEZING)
def test_flops_of_few_that_train_are_those_of_xla(name):
  program = frozen_program(name)
  batch = {'tokens': jax.ShapeDtypeStruct((8, 17), 'int32')}
  text = program.step.lower(program.abstract_state, batch).compile().as_text()
  found = flops.of_program(program) * 8 * 16
  assert found == pytest.approx(costs.measure(text).matmul_flops, rel=1e-6)


def test_layers_below_what_trains_cost_their_forward_pass_only():
  program = frozen_program('last_layers')
  D, T, V = 64, 16, program.config.model.vocab_size
  layer = 2 * 12 * D * D + 4 * T * D
  assert flops.of_program(program) == 3 * layer + 2 * V * D + 2 * (layer + 2 * V * D)


def test_frozen_matrices_cost_no_gradient_of_their_own():
  program = frozen_program('lora_of_mlps')
  D, T, V, rank = 64, 16, program.config.model.vocab_size, 4
  matrices, attention = 3 * 2 * 12 * D * D + 2 * V * D, 4 * T * D
  adapter = 3 * 2 * 2 * rank * (D + 4 * D)
  forward = matrices + 3 * attention + adapter
  # Nothing trains before the first MLP: no gradients by what the attention of its
  # layer reads, its `up`, and the A beside that.
  before = 2 * 4 * D * D + 2 * 4 * D * D + 2 * rank * D
  backward = matrices + 2 * 2 * attention + 2 * adapter - before
  assert flops.of_program(program) == forward + backward
