"""Every shipped config resolves, has shapes, a schedule and a docstring."""

import ast
import dataclasses
import pathlib
import re

import jax.numpy as jnp
import pytest

from configs import finetune
from gpt_jax import data
from gpt_jax.config.files import load_file
from gpt_jax.config.load import data_section
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import flops
from gpt_jax.optimizers import schedules
from gpt_jax.parallel.mesh import axis_sizes
from gpt_jax.program import setup
from gpt_jax.program.horizon import make_horizon

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(path.name for path in (ROOT / 'configs').glob('*.py'))

ARGUMENTS = {
  'shakespeare_char.py': ('cpu', 'gpu'),
  'bert.py': ('base', 'large', 'distilbert', 'minilm'),
  'gpt2.py': ('124m', '355m', '774m', '1558m'),
  'gpt3.py': (
    '125m', '350m', '760m', '1.3b', '1.3b_as_printed', '2.7b', '6.7b', '13b',
    '13b_as_printed', '175b',
  ),
  'llama.py': ('1b', '7b'),
  'pythia.py': ('70m', '160m', '410m', '1b', '1.4b', '2.8b', '6.9b', '12b'),
  'llama3.py': ('3.2-1b', '3.2-3b', '3.1-8b', '3.1-70b'),
  'mistral.py': ('7b-v0.1', '7b-v0.3'),
  'qwen.py': (
    '2.5-0.5b', '2.5-1.5b', '2.5-3b', '2.5-7b', '3-0.6b', '3-1.7b', '3-4b', '3-8b',
  ),
  'gemma.py': ('3-270m', '3-1b', '2-2b', '2-9b', '2-27b'),
}  # fmt: skip
PRETRAINED = ('pythia.py', 'llama3.py', 'mistral.py', 'qwen.py', 'gemma.py')
"""Configs of published models, whose other sizes tests/interop counts."""

ALL = FILES + [f'{name}:{one}' for name in ARGUMENTS for one in ARGUMENTS[name]]
SPECS = [
  pytest.param(
    spec, marks=[pytest.mark.slow] * (spec in PRETRAINED or spec not in FILES)
  )
  for spec in ALL
  if spec in FILES or spec.split(':')[0] not in PRETRAINED
]


def load(spec, **overrides):
  return setup.resolve(load_file(f'configs/{spec}'), overrides)


@pytest.mark.parametrize('spec', SPECS)
def test_every_shipped_config_resolves_and_has_shapes(spec):
  config = load(spec)
  cfg = dataclasses.replace(config.model, vocab_size=config.model.vocab_size or 256)
  shapes = flops.abstract_params(cfg)
  assert pytree.count(shapes) == flops.parameter_count(cfg) > 0


@pytest.mark.parametrize('spec', SPECS)
def test_its_run_has_a_length_and_its_rate_rises_and_falls(spec):
  config = load(spec)
  horizon = make_horizon(config.train, config.data.seq_len)
  rate = schedules.make_schedule(config.schedule, horizon, peak=1.0)
  last = horizon.total_steps - 1
  warm = rate(jnp.int32(last // 20))
  if spec != 'base.py':  # the list of knobs has no warm-up
    assert 0 < rate(jnp.int32(0)) < warm <= 1
  assert rate(jnp.int32(last)) <= max(0.11, config.schedule.final_fraction) < warm
  for stage in horizon.stages:
    assert stage.batch_size % config.train.grad_accum == 0
  if config.train.tokens:
    assert horizon.total_tokens >= config.train.tokens


@pytest.mark.parametrize('name', sorted(ARGUMENTS))
def test_no_argument_means_the_first_choice(name):
  assert load(name) == load(f'{name}:{ARGUMENTS[name][0]}')


@pytest.mark.parametrize('name', sorted(ARGUMENTS))
def test_a_wrong_argument_lists_the_choices(name):
  with pytest.raises(ConfigError) as caught:
    load(f'{name}:{ARGUMENTS[name][0]}x')
  for choice in ARGUMENTS[name]:
    assert choice in str(caught.value)
  assert 'did you mean' in str(caught.value)


@pytest.mark.parametrize('name', FILES)
def test_its_docstring_has_the_command_and_every_size(name):
  doc = ast.get_docstring(ast.parse((ROOT / 'configs' / name).read_text()))
  assert doc
  if name == 'base.py':
    return
  commands = re.findall(r'gpt-jax train --config=configs/(\S+)', doc)
  recipes = [f'finetune.py:{recipe}' for recipe in finetune.RECIPES]
  assert commands and all(command in ALL + recipes for command in commands)
  assert '--workdir=' in doc
  for choice in ARGUMENTS[name] if name in ARGUMENTS else ():
    assert choice in doc


@pytest.mark.parametrize('spec', [spec for spec in SPECS if 'gpt3' in spec])
def test_gpt3_follows_the_papers_optimizer(spec):
  config = load(spec)
  optimizer, schedule = config.optimizer, config.schedule
  assert (optimizer.b1, optimizer.b2, optimizer.eps) == (0.9, 0.95, 1e-8)
  assert (optimizer.weight_decay, optimizer.clip_norm) == (0.1, 1.0)
  assert (schedule.warmup_tokens, schedule.decay_tokens) == (375e6, 260e9)
  assert (config.train.tokens, config.data.seq_len) == (300e9, 2048)
  assert config.model.layer_pattern == ('global', 'local:256')


def test_gpt3_175b_divides_over_an_8x8x16_pod():
  config = load('gpt3.py:175b')
  sizes = axis_sizes(config.parallel.mesh, 8 * 8 * 16)
  assert (sizes['fsdp'], sizes['tensor']) == (128, 8)
  horizon = make_horizon(config.train, config.data.seq_len)
  assert all(stage.batch_size % 128 == 0 for stage in horizon.stages)
  cfg = config.model
  assert cfg.d_model % 128 == cfg.num_heads % 8 == cfg.d_ff % 8 == 0


@pytest.mark.parametrize('size', ARGUMENTS['gpt2.py'])
def test_gpt2_has_biases_a_tied_head_and_a_padded_vocabulary(size):
  cfg = load(f'gpt2.py:{size}').model
  assert cfg.bias and cfg.norm_bias and cfg.tie_embeddings
  assert (cfg.vocab_size, cfg.pad_vocab_to_multiple_of) == (50257, 128)


@pytest.mark.parametrize(
  'setting,numbers',
  [
    ('cpu', (4, 4, 128, 64, 12, 2000, 0.0)),
    ('gpu', (6, 6, 384, 256, 64, 5000, 0.2)),
  ],
)
def test_shakespeare_settings_are_those_of_nanogpt(setting, numbers):
  config = load(f'shakespeare_char.py:{setting}')
  model, train = config.model, config.train
  assert numbers == (
    model.num_layers, model.num_heads, model.d_model, config.data.seq_len,
    train.batch_size, train.steps, model.dropout,
  )  # fmt: skip
  assert (config.optimizer.learning_rate, config.schedule.final_fraction) == (1e-3, 0.1)
  assert (config.optimizer.b2, config.optimizer.weight_decay) == (0.99, 0.1)
  assert not model.bias and not model.norm_bias


@pytest.mark.shared
def test_nanogpts_validation_text_is_the_last_tenth(shared_tfds):
  config = load('shakespeare_char.py', **{'data.data_dir': str(shared_tfds)})
  fields = config.eval.sets['nanogpt_validation']
  part = data_section(config.data, fields, 'eval.sets')
  made = [data.make_source(section) for section in (config.data, part)]
  lengths = [sum(len(one[i]['text']) for i in range(len(one))) for one in made]
  assert lengths == [1_003_854, 111_540]
