"""DistilBERT (arXiv:1910.01108): BERT without token types and pooler, other names."""

from gpt_jax.interop import bert, dialect
from gpt_jax.interop.bert import Names
from gpt_jax.interop.family import Family
from gpt_jax.interop.mapping import layer_names

BARE, MASKED = 'DistilBertModel', 'DistilBertForMaskedLM'
ARCHITECTURES = {
  bert.BARE: BARE, bert.MASKED: MASKED, bert.CLASSES: f'Distil{bert.CLASSES}',
  bert.TOKENS: f'Distil{bert.TOKENS}',
}  # fmt: skip
NORM_EPS = 1e-12  # no field of theirs


def to_config(fields):
  """Returns our fields of a DistilBertConfig."""
  fields.expect('tie_word_embeddings', True)
  # Tables of sines are in the file as any other table of positions.
  fields.ignore('sinusoidal_pos_embds', 'qa_dropout', 'seq_classif_dropout')
  return bert.ENCODER | {
    'model.vocab_size': fields.take('vocab_size', 30522),
    'model.num_layers': fields.take('n_layers', 6),
    'model.d_model': fields.take('dim', 768),
    'model.num_heads': fields.take('n_heads', 12),
    'model.d_ff': fields.take('hidden_dim', 3072),
    'model.max_seq_len': fields.take('max_position_embeddings', 512),
    'model.norm_eps': NORM_EPS,
    'model.activation': fields.choose('activation', dialect.ACTIVATIONS, 'gelu'),
    'model.dropout': fields.take('dropout', 0.1, float),
    'model.attention_dropout': fields.take('attention_dropout', 0.1, float),
    **bert.of_head(fields, bert.architecture(fields, BARE), 'mlp_relu'),
  }


def from_config(config):
  """Returns a DistilBertConfig of our fields."""
  cfg = config.model
  return dict(
    architectures=[architecture_of(config)],
    vocab_size=cfg.vocab_size,
    dim=cfg.d_model,
    n_layers=cfg.num_layers,
    n_heads=cfg.num_heads,
    hidden_dim=cfg.d_ff,
    max_position_embeddings=cfg.max_seq_len,
    activation=dialect.activation_name(cfg),
    dropout=cfg.residual_dropout,
    attention_dropout=cfg.attention_dropout,
    **bert.label_fields(config),
  )


def architecture_of(config):
  """Returns the architecture of a Config's head."""
  return ARCHITECTURES[bert.architecture_of(config)]


def table(config):
  """Returns all tensors of the architecture of a Config."""
  kind = architecture_of(config)
  names = Names('distilbert.', is_bare=kind == BARE)
  entries = names.embeddings(('vocab_projector.weight',) if kind == MASKED else ())
  for i, ours in enumerate(layer_names(config.model)):
    theirs = f'transformer.layer.{i}'
    attention, mine = f'{theirs}.attention', f'{ours}/attention'
    for name in ('query', 'key', 'value'):
      their_name = f'{attention}.{name[0]}_lin'
      entries += names.linear(their_name, f'{mine}/{name}', '(H K) D', 'D H K')
    entries += [
      *names.linear(f'{attention}.out_lin', f'{mine}/out', 'D (H K)', 'H K D'),
      *names.norm(f'{theirs}.sa_layer_norm', f'{ours}/attention_norm'),
      *names.linear(f'{theirs}.ffn.lin1', f'{ours}/mlp/up', 'F D', 'D F'),
      *names.linear(f'{theirs}.ffn.lin2', f'{ours}/mlp/down', 'D F', 'F D'),
      *names.norm(f'{theirs}.output_layer_norm', f'{ours}/mlp_norm'),
    ]
  return entries + _head(kind)


def _head(kind):
  own = Names()
  if kind == MASKED:
    return [
      *own.linear('vocab_transform', 'head_transform/dense', 'E D', 'D E'),
      *own.norm('vocab_layer_norm', 'head_transform/out_norm'),
      own.entry('vocab_projector.bias', 'head_bias', 'V', 'V'),
    ]
  if kind == ARCHITECTURES[bert.CLASSES]:
    return [
      *own.linear('pre_classifier', 'task_head/pooler', 'E D', 'D E', joint='_'),
      *own.linear('classifier', 'task_head/out', 'O D', 'D O'),
    ]
  if kind == ARCHITECTURES[bert.TOKENS]:
    return own.linear('classifier', 'task_head', 'O D', 'D O')
  return []


FAMILY = Family(
  name='distilbert',
  architectures=tuple(ARCHITECTURES.values()),
  to_config=to_config,
  from_config=from_config,
  table=table,
  architecture_of=architecture_of,
  ignored=(r'(^|\.)embeddings\.position_ids$',),  # 0, 1, 2, ...
)
