"""Combinations that cannot run: each is refused, and each remedy is accepted."""

import pytest

from gpt_jax.config.schema import parse_layer
from gpt_jax.core.errors import ConfigError
from tests import small_models as small

# (what is asked for, words of the error, a change that makes it right)
CONFLICTS = {
  'heads': (
    dict(model__num_heads=3), ['model.num_heads=3', 'model.head_dim'],
    dict(model__head_dim=5),
  ),
  'groups': (
    dict(model__num_kv_heads=3), ['model.num_kv_heads=3', 'divisor of model.num_heads'],
    dict(model__num_kv_heads=2),
  ),
  'odd rotary heads': (
    dict(model__position='rope', model__head_dim=5), ['even model.head_dim', 'not 5'],
    dict(model__head_dim=6),
  ),
  'odd sinusoids': (
    dict(model__position='sinusoidal', model__d_model=15, model__head_dim=4),
    ['model.position', 'even model.d_model'], dict(model__d_model=16),
  ),
  'short position table': (
    dict(model__max_seq_len=7), ['model.max_seq_len=7', 'data.seq_len=8'],
    dict(model__max_seq_len=8),
  ),
  'short table of a pretrained model': (
    dict(model__max_seq_len=7, init_from='runs/other'), ['set data.seq_len=7'],
    dict(data__seq_len=7),
  ),
  'long texts for a pretrained model': (
    dict(model__max_seq_len=7, model__position='rope', init_from='runs/other'),
    ['it may be raised (model.max_seq_len=8)'], dict(model__max_seq_len=8),
  ),
  'rope scaling without rope': (
    dict(model__rope_scaling='linear'), ['model.rope_scaling', "'learned'"],
    dict(model__position='rope'),
  ),
  'ntk with one pair': (
    dict(model__position='rope', model__rope_scaling='ntk', model__head_dim=2),
    ['model.rope_scaling', 'head_dim=2'],
    dict(model__head_dim=4),
  ),
  'parallel and post': (
    dict(model__block='parallel', model__norm_position='post'),
    ['model.norm_position', 'parallel'], dict(model__norm_position='pre'),
  ),
  'fused soft-cap': (
    dict(attention__kernel='fused', attention__softcap=1.0), ['attention.softcap=1.0'],
    dict(attention__kernel='dense'),
  ),
  'fused dropout': (
    dict(attention__kernel='fused', model__dropout=0.1),
    ['model.attention_dropout=0.1'], dict(model__attention_dropout=0.0),
  ),
  'blockwise dropout': (
    dict(attention__kernel='blockwise', model__attention_dropout=0.1),
    ['model.attention_dropout=0.1', 'blockwise'], dict(attention__kernel='dense'),
  ),
  'negative waits': (
    dict(checkpoint__retry_seconds=(1.0, -1.0)),
    ['checkpoint.retry_seconds=(1.0, -1.0)', '0 to 86400 seconds'],
    dict(checkpoint__retry_seconds=()),
  ),
  'no layers': (
    dict(model__layer_pattern=()), ['model.layer_pattern=()'],
    dict(model__layer_pattern=('global',)),
  ),
  'unknown layer': (
    dict(model__layer_pattern=('sparse',)), ["'sparse'", 'local:256'],
    dict(model__layer_pattern=('local:256',)),
  ),
  'pattern too long': (
    dict(model__layer_pattern=('global',) * 3), ['model.layer_pattern', 'length 3'],
    dict(model__num_layers=6),
  ),
  'shares above 1': (
    dict(objective__name='masked_lm', objective__mask_split=(0.8, 0.1, 0.2)),
    ['objective.mask_split', 'sum to 1'],
    dict(objective__mask_split=(0.8, 0.1, 0.1)),
  ),
  'two shares': (
    dict(objective__name='masked_lm', objective__mask_split=(0.8, 0.2)),
    ['objective.mask_split', 'three'],
    dict(objective__mask_split=(0.8, 0.2, 0.0)),
  ),
  'prefix bounds': (
    dict(objective__name='prefix_lm', objective__prefix_min=0.9),
    ['objective.prefix_min=0.9', 'prefix_max=0.75'],
    dict(objective__prefix_max=0.95),
  ),
  'warm-up twice': (
    dict(schedule__warmup_steps=1, schedule__warmup_tokens=1),
    ['schedule.warmup_steps=1', 'schedule.warmup_tokens=1'],
    dict(schedule__warmup_tokens=None),
  ),
  'decay twice': (
    dict(schedule__decay_steps=1, schedule__decay_tokens=1), ['schedule.decay_steps=1'],
    dict(schedule__decay_steps=None),
  ),
  'two budgets': (
    dict(train__steps=1000, train__tokens=5),
    ['train.steps=1000', 'train.tokens=5', 'exactly one'], dict(train__steps=None),
  ),
  'no budget': (
    dict(train__steps=None), ['train.steps=None', 'exactly one'], dict(train__steps=1),
  ),
  'microbatches': (
    dict(train__grad_accum=5), ['train.grad_accum=5', 'train.batch_size=32'],
    dict(train__batch_size=35),
  ),
  'half a ramp': (
    dict(train__ramp_tokens=100), ['train.ramp_start_batch_size=None', 'both'],
    dict(train__ramp_start_batch_size=8),
  ),
  'uneven ramp': (
    dict(train__ramp_tokens=100, train__ramp_start_batch_size=5),
    ['train.ramp_start_batch_size=5', 'divisor of train.batch_size'],
    dict(train__ramp_start_batch_size=8),
  ),
  'best by a set that is not there': (
    dict(checkpoint__best_metric='test/loss'),
    ["checkpoint.best_metric='test/loss'", 'validation/loss'],
    dict(checkpoint__keep_best=0),
  ),
  'unknown mesh axis': (
    dict(parallel__mesh={'tensr': 2}), ['parallel.mesh.tensr'],
    dict(parallel__mesh={'tensor': 2}),
  ),
  'no devices on an axis': (
    dict(parallel__mesh={'tensor': 0}), ['parallel.mesh.tensor=0', '-1'],
    dict(parallel__mesh={'tensor': -1}),
  ),
  'a bool as the size of an axis': (
    dict(parallel__mesh={'tensor': True}), ['parallel.mesh.tensor=True'],
    dict(parallel__mesh={'tensor': 1}),
  ),
  'two axes of unknown size': (
    dict(parallel__mesh={'tensor': -1, 'fsdp': -1}),
    ['only one axis may be -1, or data', 'all but one of tensor, fsdp'],
    dict(parallel__mesh={'tensor': -1, 'data': -1}),
  ),
  'unknown logical axis': (
    dict(parallel__overrides={'mpl': None}), ["parallel.overrides.mpl", "'mlp'"],
    dict(parallel__overrides={'mlp': None}),
  ),
  'an override to an unknown axis': (
    dict(parallel__overrides={'mlp': 'tensr'}), ["parallel.overrides.mlp='tensr'"],
    dict(parallel__overrides={'mlp': ('tensor', 'data')}),
  ),
  'an eval set that is a name': (
    dict(eval__sets={'validation': 'test'}),
    ["eval.sets.validation='test'", 'dict of data fields'],
    dict(eval__sets={'validation': {'split': 'test'}}),
  ),
  'a part without weight': (
    dict(data__mixture={'a': {'source': 'uniform'}}), ['data.mixture.a.weight=None'],
    dict(data__mixture={'a': {'source': 'uniform', 'weight': 1}}),
  ),
  'a part with a bad weight': (
    dict(data__mixture={'a': {'weight': float('nan')}}), ['data.mixture.a.weight=nan'],
    dict(data__mixture={'a': {'weight': 0.5}}),
  ),
  'documents apart already': (
    dict(data__mask_documents=True, data__packing='pad'), ['data.mask_documents=True'],
    dict(data__packing='concat'),
  ),
  'a group without match': (
    dict(optimizer__groups=({'freeze': True},)), ['optimizer.groups[0]', '"match"'],
    dict(optimizer__groups=({'match': 'embed', 'freeze': True},)),
  ),
  'a group with a typo': (
    dict(
      optimizer__groups=(
        {'match': 'a', 'freeze': True}, {'match': 'a', 'frozen': True}
      )
    ),
    ['optimizer.groups[1]', 'freeze'],
    dict(
      optimizer__groups=(
        {'match': 'a', 'freeze': True}, {'match': 'a', 'freeze': True}
      )
    ),
  ),
  'a broken pattern': (
    dict(optimizer__groups=({'match': '(', 'freeze': True},)),
    ['optimizer.groups[0].match', 'regular'],
    dict(optimizer__groups=({'match': r'\(', 'freeze': True},)),
  ),
  'a decay that is no number': (
    dict(optimizer__groups=({'match': 'a', 'weight_decay': 'no'},)),
    ["optimizer.groups[0].weight_decay='no'"],
    dict(optimizer__groups=({'match': 'a', 'weight_decay': 0},)),
  ),
  'a freeze that is no bool': (
    dict(optimizer__groups=({'match': 'a', 'freeze': 1},)),
    ['optimizer.groups[0].freeze=1'],
    dict(optimizer__groups=({'match': 'a', 'freeze': False},)),
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', CONFLICTS)
def test_an_invalid_combination_is_named_and_its_remedy_accepted(name):
  asked, words, change = CONFLICTS[name]
  with pytest.raises(ConfigError) as caught:
    small.resolve(**asked)
  text = str(caught.value)
  assert text.startswith('1 problem(s)'), text
  assert all(word in text for word in words), text
  small.resolve(**asked | change)


def test_layers_parse_to_attention_spans_in_tokens():
  assert parse_layer('global') is None
  assert parse_layer('local:256') == 256


@pytest.mark.parametrize(
  'layer', ['', 'local', 'local:', 'local:0', 'local:-1', 'loc:2']
)
def test_an_invalid_layer_is_refused(layer):
  with pytest.raises(ValueError):
    parse_layer(layer)
