"""Modules of theirs for linear maps of ours, and the patterns that pick modules."""

import numpy as np
import pytest

from gpt_jax.interop import bert, gpt2, gpt_neox, llama, numerics
from gpt_jax.interop.fields import Fields
from gpt_jax.peft import linears, lora_updates
from gpt_jax.peft_formats import names
from tests.interop import small_folders


def config_of(family, **values):
  fields = Fields(values, 'config.json')
  return numerics.resolve(family.to_config(fields))


GPT2 = config_of(gpt2.FAMILY, vocab_size=11, n_layer=2, n_embd=8, n_head=2)
NEOX = config_of(
  gpt_neox.FAMILY, vocab_size=11, num_hidden_layers=2, hidden_size=8,
  num_attention_heads=2, intermediate_size=12, rotary_pct=0.5,
)  # fmt: skip
LLAMA = config_of(
  llama.FAMILY, vocab_size=11, num_hidden_layers=12, hidden_size=8,
  num_attention_heads=4, num_key_value_heads=2, intermediate_size=12,
)  # fmt: skip
BERT = config_of(
  bert.FAMILY, vocab_size=11, num_hidden_layers=2, hidden_size=8,
  num_attention_heads=2, intermediate_size=12, max_position_embeddings=9,
)  # fmt: skip


@pytest.mark.parametrize(
  'family, config',
  [(gpt2.FAMILY, GPT2), (gpt_neox.FAMILY, NEOX), (llama.FAMILY, LLAMA),
   (bert.FAMILY, BERT)],
)  # fmt: skip
def test_every_linear_map_of_a_block_has_a_module(family, config):
  found = [path for one in names.modules_of(family, config) for path in one.paths]
  every = linears.find(config.model)
  wanted = [one.path for linear in every for one in lora_updates.unrolled(linear)]
  assert sorted(found) == sorted(wanted)


def test_inputs_and_outputs_follow_from_the_table():
  by_name = {one.name: one for one in names.modules_of(gpt2.FAMILY, GPT2)}
  fused = by_name['transformer.h.0.attn.c_attn']
  assert (fused.inside, fused.outside, len(fused.paths)) == ('D', '(P H K)', 3)
  assert 'h.0.attn.c_attn' in fused.other_names
  out = by_name['transformer.h.0.attn.c_proj']
  assert (out.inside, out.outside) == ('(H K)', 'D')
  by_name = {one.name: one for one in names.modules_of(llama.FAMILY, LLAMA)}
  key = by_name['model.layers.0.self_attn.k_proj']
  assert (key.our_inside, key.our_outside) == ('D', 'G K')


def test_tensors_go_there_and_back():
  (fused, *_) = [
    one for one in names.modules_of(gpt_neox.FAMILY, NEOX) if len(one.paths) == 3
  ]
  sizes, rng = fused.sizes | {'R': 3}, np.random.default_rng(0)
  entry = fused.entry('lora_b', '{outside} R', 'R {outside}')
  parts = [rng.normal(size=(3, 2, 4)).astype(np.float32) for _ in range(3)]
  tensor = names.to_theirs(entry, parts, sizes)
  assert tensor.shape == (24, 3)
  for part, again in zip(parts, names.to_ours(entry, tensor, sizes), strict=True):
    np.testing.assert_array_equal(part, again)
  # NeoX has query, key and value of a head side by side.
  np.testing.assert_array_equal(tensor[4:8], parts[1][:, 0].T)


@pytest.mark.parametrize(
  'fields, picked',
  [
    (dict(target_modules=['q_proj']), [0, 2]),
    (dict(target_modules=['proj']), []),
    (dict(target_modules='.*_proj'), [0, 1, 2]),
    (dict(target_modules='all-linear'), [0, 1, 2]),
    (dict(target_modules='all-linear', exclude_modules=['v_proj']), [0, 2]),
    (dict(target_modules=['layers.1.q_proj']), [0]),
    (dict(target_modules=['q_proj'], layers_to_transform=[11]), [2]),
    (dict(target_modules=['q_proj'], layers_to_transform=1), [0]),
    (
      dict(target_modules=['q_proj'], layers_to_transform=[1], layers_pattern='h'),
      [],
    ),
    (dict(target_modules=None), []),
  ],
)
def test_patterns_pick_as_those_of_peft(fields, picked):
  every = ['m.layers.1.q_proj', 'm.layers.1.v_proj', 'm.layers.11.q_proj']
  assert [i for i, name in enumerate(every) if names.is_picked(fields, name)] == picked


def test_the_first_pattern_that_matches_gives_the_value():
  pattern = {'v_proj': 3, r'layers\.1\..*': 5}
  assert names.value_at(pattern, 'm.layers.1.v_proj', 8) == 3
  assert names.value_at(pattern, 'm.layers.1.q_proj', 8) == 5
  assert names.value_at(None, 'm.layers.1.q_proj', 8) == 8


def test_short_names_are_no_longer_than_they_must_be():
  every = ['h.0.attn.proj', 'h.0.mlp.proj', 'h.0.mlp.up', 'h.1.mlp.up', 'h.11.mlp.up']
  assert names.shortest(every[2:], every) == ['up']
  assert names.shortest(every[:1], every) == ['attn.proj']
  assert names.shortest([every[3]], every) == ['1.mlp.up']
  values = {every[0]: 2, every[1]: 2, every[3]: 4}
  assert names.shortest_by(values, every) == {'proj': 2, '1.mlp.up': 4}


def test_fields_of_other_types_are_refused():
  fields = Fields(dict(target_modules=[3], layers_to_transform='all'), 'x')
  names.check(fields)
  assert len(fields.problems) == 2


def test_all_modules_with_weights_are_known():
  shapes = small_folders.gpt2_shapes()
  weights = {n.removesuffix('.weight') for n in shapes if n.endswith('.weight')}
  assert names.all_names(gpt2.FAMILY, GPT2) == weights | {'lm_head'}
