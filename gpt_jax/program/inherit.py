"""The model section of a config from the model of init_from: init.model=keep."""

import collections
import copy

from ml_collections import ConfigDict

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.interop import open_model
from gpt_jax.workdir.paths import Workdir

OWN = (
  'stochastic_depth', 'remat', 'scan_layers', 'dtype', 'param_dtype', 'head',
  'head_bias', 'pooler', 'quantization', 'quantization_group', 'quantized_embedding',
  'quantized_activations', 'outlier_threshold', 'fake_quantization',
)  # fmt: skip
"""Fields of the model that belong to the training, and not to what was pretrained."""
DROPOUTS = ('embed_dropout', 'attention_dropout', 'residual_dropout')
OUTPUT = ('head', 'head_bias', 'pooler')
OF_TEXTS = ('class_labels', 'regression', 'reward')
OF_TOKENS = ('token_labels', 'span_labels')
"""Objectives with a task head that pools a text, or reads each token."""
ATTENTION = ('softcap', 'scale')


def with_model_of_source(values, overrides):
  """Returns (`values` with the model of `init_from` in it, `overrides`).

  `values`: a ConfigDict or dict. Both are left as they are without init_from or with
  init.model='own'. The tokenizer's section and the tokens around a document come
  along; the training's own fields, and what
  `overrides` say, stay. What is returned says init.model='own': it needs no source.
  """
  values = values.to_dict() if isinstance(values, ConfigDict) else values
  if not isinstance(values.get('init'), dict):  # a mistake, for the checks
    return values, overrides
  init_from = overrides.get('init_from', values.get('init_from'))
  kind = overrides.get('init.model', values['init'].get('model', 'own'))
  if not init_from or kind != 'keep':
    return values, overrides
  source = source_config(str(init_from))
  values = copy.deepcopy(values)
  values['init']['model'] = 'own'
  own = OWN if source['model']['head'] == 'none' else set(OWN) - set(OUTPUT)
  values['model'] |= {k: v for k, v in source['model'].items() if k not in own}
  if 'model.dropout' in overrides:  # by default of all three, whatever the source's
    values['model'] |= dict.fromkeys(DROPOUTS)
  values['attention'] |= {name: source['attention'][name] for name in ATTENTION}
  values['tokenizer'] = source['tokenizer']
  values['data'] |= {
    name: source['data'][name] for name in ('begin_token', 'append_eos')
  }
  packings = values['data']['packing'], source['data']['packing']
  if packings == ('concat', 'concat_begin'):
    values['data']['packing'] = 'concat_begin'
  values['objective'] |= {
    'options': _options_of(source['objective'])[values['objective']['name']]
    | dict(values['objective'].get('options') or {})
  }
  return values, {k: v for k, v in overrides.items() if k != 'init.model'}


def problems(config):
  """Returns the Problems of a Config that wants a model and names none."""
  # `with_model_of_source` leaves 'keep' only where there is no source.
  if config.init.model != 'keep':
    return []
  text = "='keep': takes the model of init_from, which is empty; set"
  text += ' --config.init_from=MODEL (a run, a Hugging Face folder or a GGUF file), or'
  text += ' --config.init.model=own for a model from scratch'
  return [Problem('init.model', text)]


def source_config(path):
  """Returns the config of a run or of a pretrained model, as nested dicts."""
  if open_model.is_model(path):
    with open_model.open_model(path) as model:
      return load.to_dict(model.config)
  saved = Workdir(path).read_config()
  if saved is None:
    raise ConfigError(
      f'init_from={path!r}: neither the workdir of a run nor a pretrained model;'
      ' expected a folder with checkpoints/, or with config.json and safetensors files,'
      ' or a .gguf file.'
    )
  return saved


def _options_of(source):
  """Returns {objective: options} of task heads on a model that `source` has trained.

  What a token sees is as it was; an encoder's texts are pooled as the source does, or
  by their mean.
  """
  theirs = dict(source.get('options') or {})
  is_masked = source['name'] == 'masked_lm'
  attention = theirs.get('attention', 'bidirectional' if is_masked else 'causal')
  found = collections.defaultdict(dict)
  for name in (*OF_TEXTS, *OF_TOKENS):
    found[name] = {'attention': attention}
    if name in OF_TEXTS and attention == 'bidirectional':
      pooling = theirs.get('pooling', 'mean')
      found[name]['pooling'] = 'mean' if pooling == 'marked' else pooling
  return found
