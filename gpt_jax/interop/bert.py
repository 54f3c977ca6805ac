"""BERT (arXiv:1810.04805): learned positions, two token types, norms after each sum.

The bare encoder with its pooler, and with a head: masked tokens, classes of texts,
labels of tokens. Names with `gamma` and `beta` are those of the first files.
"""

from typing import Any

from gpt_jax import objectives
from gpt_jax.interop import dialect
from gpt_jax.interop.family import Family
from gpt_jax.interop.mapping import Entry, layer_names

BARE, MASKED = 'BertModel', 'BertForMaskedLM'
CLASSES, TOKENS = 'BertForSequenceClassification', 'BertForTokenClassification'
PRETRAINING = 'BertForPreTraining'  # read as MASKED, without its second task
MASK = '[MASK]'
# Of the pooler as multilingual BERT has it; nobody reads them.
_OF_POOLERS = (
  'directionality', 'pooler_fc_size', 'pooler_num_attention_heads',
  'pooler_num_fc_layers', 'pooler_size_per_head', 'pooler_type',
)  # fmt: skip


def to_config(fields):
  """Returns our fields of a BertConfig."""
  fields.expect('position_embedding_type', 'absolute')
  fields.expect('is_decoder', False)
  fields.expect('tie_word_embeddings', True)
  fields.ignore(*_OF_POOLERS)
  types = fields.take('type_vocab_size', 2)
  if not types:
    fields.refuse('type_vocab_size=0: expected at least 1; distilbert has none')
  kind = architecture(fields, BARE)
  return ENCODER | {
    'model.vocab_size': fields.take('vocab_size', 30522),
    'model.num_layers': fields.take('num_hidden_layers', 12),
    'model.d_model': fields.take('hidden_size', 768),
    'model.num_heads': fields.take('num_attention_heads', 12),
    'model.d_ff': fields.take('intermediate_size', 3072),
    'model.max_seq_len': fields.take('max_position_embeddings', 512),
    'model.token_types': types,
    'model.norm_eps': fields.take('layer_norm_eps', 1e-12, float),
    'model.activation': fields.choose('hidden_act', dialect.ACTIVATIONS, 'gelu'),
    'model.dropout': fields.take('hidden_dropout_prob', 0.1, float),
    'model.attention_dropout': fields.take('attention_probs_dropout_prob', 0.1, float),
    'model.pooler': kind == BARE,
    **of_head(fields, kind, 'mlp'),
  }


ENCODER = {
  'model.position': 'learned', 'model.norm': 'layernorm', 'model.norm_position': 'post',
  'model.bias': True, 'model.tie_embeddings': True,
}  # fmt: skip
"""Our fields of every BERT and DistilBERT."""


def architecture(fields, bare):
  """Returns the first of `architectures`, that of the bare encoder where none is named.

  The families have the same names but for a prefix; ours are those of BERT.
  """
  given = fields.peek('architectures') or [bare]
  name = str(given[0])
  return MASKED if name == PRETRAINING else name


def of_head(fields, name, class_head):
  """Returns our fields of the head of architecture `name`, of either family."""
  masked = {'objective.name': 'masked_lm', 'objective.options.mask_token': MASK}
  if name.endswith('ForMaskedLM'):
    return masked | {'model.head': 'transform', 'model.head_bias': True}
  bare = {'model.head': 'none'}
  if name.endswith('ForSequenceClassification'):
    labels = {
      'objective.name': 'class_labels',
      'objective.head': class_head,
      'objective.options.pooling': 'first',
    }
  elif name.endswith('ForTokenClassification'):
    labels = {'objective.name': 'token_labels', 'objective.head': 'linear'}
  else:
    return bare | masked
  return bare | labels | _of_labels(fields)


def _of_labels(fields):
  fields.expect('problem_type', None, 'single_label_classification')
  names = fields.peek('id2label')
  count = fields.take('num_labels', 2)
  found: dict[str, Any] = {
    'objective.options.attention': 'bidirectional',
    'data.packing': 'first_fit',
  }
  if isinstance(names, dict):
    count = len(names)
    if set(map(str, names)) != set(map(str, range(count))):
      fields.refuse(f'id2label: expected the ids 0 to {count - 1}')
      return found
    texts = {int(i): str(text) for i, text in names.items()}
    texts = tuple(texts[i] for i in range(count))
    if texts != _numbered(count) and len(set(texts)) == count:
      found['data.label_names'] = texts
  if count < 2:
    fields.refuse(f'num_labels={count}: a regression is not supported')
  return found | {'objective.options.num_labels': max(count, 2)}


def _numbered(count):
  return tuple(f'LABEL_{i}' for i in range(count))


def from_config(config):
  """Returns a BertConfig of our fields."""
  cfg = config.model
  return dict(
    architectures=[architecture_of(config)],
    vocab_size=cfg.vocab_size,
    hidden_size=cfg.d_model,
    num_hidden_layers=cfg.num_layers,
    num_attention_heads=cfg.num_heads,
    intermediate_size=cfg.d_ff,
    max_position_embeddings=cfg.max_seq_len,
    type_vocab_size=cfg.token_types,
    layer_norm_eps=cfg.norm_eps,
    hidden_act=dialect.activation_name(cfg),
    hidden_dropout_prob=cfg.residual_dropout,
    attention_probs_dropout_prob=cfg.attention_dropout,
    **label_fields(config),
  )


def label_fields(config):
  """Returns `id2label` and `label2id` of a Config with a task head."""
  count = objectives.describe(config).num_outputs
  if not count:
    return {}
  names = config.data.label_names or _numbered(count)
  return dict(
    id2label={str(i): name for i, name in enumerate(names)},
    label2id={name: i for i, name in enumerate(names)},
  )


def architecture_of(config):
  """Returns the architecture of a Config's head."""
  if config.objective.name == 'token_labels':
    return TOKENS
  if objectives.describe(config).num_outputs:
    return CLASSES
  return BARE if config.model.head == 'none' else MASKED


def table(config):
  """Returns all tensors of the architecture of a Config."""
  kind = architecture_of(config)
  names = Names('bert.', is_bare=kind == BARE)
  entries = [
    *names.embeddings(('cls.predictions.decoder.weight',) if kind == MASKED else ()),
    names.entry(
      'embeddings.token_type_embeddings.weight', 'token_type/embedding', 'C D', 'C D'
    ),
  ]
  for i, ours in enumerate(layer_names(config.model)):
    theirs, attention = f'encoder.layer.{i}', f'{ours}/attention'
    for name in ('query', 'key', 'value'):
      their_name = f'{theirs}.attention.self.{name}'
      entries += names.linear(their_name, f'{attention}/{name}', '(H K) D', 'D H K')
    out, up = f'{theirs}.attention.output', f'{theirs}.intermediate.dense'
    entries += [
      *names.linear(f'{out}.dense', f'{attention}/out', 'D (H K)', 'H K D'),
      *names.norm(f'{out}.LayerNorm', f'{ours}/attention_norm'),
      *names.linear(up, f'{ours}/mlp/up', 'F D', 'D F'),
      *names.linear(f'{theirs}.output.dense', f'{ours}/mlp/down', 'D F', 'F D'),
      *names.norm(f'{theirs}.output.LayerNorm', f'{ours}/mlp_norm'),
    ]
  if config.model.pooler:
    entries += names.linear('pooler.dense', 'pooler/dense', 'E D', 'D E')
  return entries + _head(kind, names)


def _head(kind, names):
  own = Names()
  if kind == MASKED:
    head, again = 'cls.predictions', ('cls.predictions.decoder.bias',)
    dense = f'{head}.transform.dense'
    return [
      *own.linear(dense, 'head_transform/dense', 'E D', 'D E'),
      *own.norm(f'{head}.transform.LayerNorm', 'head_transform/out_norm'),
      own.entry(f'{head}.bias', 'head_bias', 'V', 'V', again, again),
    ]
  if kind == CLASSES:
    return [
      *names.linear('pooler.dense', 'task_head/pooler', 'E D', 'D E', joint='_'),
      *own.linear('classifier', 'task_head/out', 'O D', 'D O'),
    ]
  return own.linear('classifier', 'task_head', 'O D', 'D O') if kind == TOKENS else []


class Names:
  """Entries of tensors under all names that files have for them.

  A bare encoder is written without the prefix, and read with it too.
  """

  def __init__(self, prefix='', is_bare=False):
    self._prefixes = ('', prefix) if is_bare else (prefix,)

  def entry(self, theirs, ours, their_axes, our_axes, old=(), aliases=()):
    """Returns the Entry of one tensor; `old`: its names in files before."""
    names = [prefix + name for name in (theirs, *old) for prefix in self._prefixes]
    return Entry(
      names[0], (ours,), their_axes, our_axes, tuple(aliases), tuple(names[1:])
    )

  def embeddings(self, heads):
    """Returns the entries of tokens and positions; `heads`: tied output layers."""
    words, places = 'embeddings.word_embeddings', 'embeddings.position_embeddings'
    return [
      self.entry(f'{words}.weight', 'embed/embedding', 'V D', 'V D', aliases=heads),
      self.entry(f'{places}.weight', 'position/embedding', 'M D', 'M D'),
      *self.norm('embeddings.LayerNorm', 'embed_norm'),
    ]

  def linear(self, theirs, ours, their_axes, our_axes, joint='/'):
    """Returns the entries of a linear layer, `weight` [out, in], with its bias."""
    out = '(H K)' if their_axes.startswith('(') else their_axes[0]
    mine = out.strip('()')
    return [
      self.entry(f'{theirs}.weight', f'{ours}{joint}kernel', their_axes, our_axes),
      self.entry(f'{theirs}.bias', f'{ours}{joint}bias', out, mine),
    ]

  def norm(self, theirs, ours):
    """Returns the entries of a LayerNorm."""
    return [
      self.entry(f'{theirs}.{name}', f'{ours}/{mine}', 'D', 'D', (f'{theirs}.{old}',))
      for name, mine, old in (('weight', 'scale', 'gamma'), ('bias', 'bias', 'beta'))
    ]


FAMILY = Family(
  name='bert',
  architectures=(BARE, MASKED, CLASSES, TOKENS, PRETRAINING),
  to_config=to_config,
  from_config=from_config,
  table=table,
  architecture_of=architecture_of,
  ignored=(r'(^|\.)embeddings\.position_ids$',),  # 0, 1, 2, ...
  unused=(r'^bert\.pooler\.dense\.(weight|bias)$', r'^cls\.seq_relationship\.'),
)
