"""LLaMA 1 to 3 (arXiv:2302.13971, 2307.09288, 2407.21783), and what its heirs share.

RMSNorm before each sublayer, rotary positions in half-split order (as transformers
stores them; Meta's own files interleave), SwiGLU, grouped-query attention, no biases.
"""

from gpt_jax.interop import dialect
from gpt_jax.interop.family import Family
from gpt_jax.interop.mapping import Entry, layer_names, linear, norm

OLD_FREQUENCIES = r'(^|\.)layers\.\d+\.self_attn\.rotary_emb\.inv_freq$'


def read_shape(fields, default_positions=2048, activation='hidden_act'):
  """Returns our fields that all heirs of LLaMA have, rotary positions aside."""
  width, heads = fields.take('hidden_size'), fields.take('num_attention_heads')
  if 'head_dim' not in fields.values and heads and width % heads:
    fields.refuse(f'hidden_size={width}: does not divide over {heads} heads')
  return {
    'model.vocab_size': fields.take('vocab_size'),
    'model.num_layers': fields.take_layers('num_hidden_layers'),
    'model.d_model': width,
    'model.num_heads': heads,
    'model.num_kv_heads': fields.take('num_key_value_heads', heads),
    'model.head_dim': fields.take('head_dim', width // max(heads, 1)),
    'model.d_ff': fields.take('intermediate_size'),
    'model.max_seq_len': fields.take('max_position_embeddings', default_positions),
    'model.norm': 'rmsnorm',
    'model.norm_eps': fields.take('rms_norm_eps', 1e-6, float),
    'model.bias': False,
    'model.activation': fields.choose(activation, dialect.GATES, 'silu'),
    'model.attention_dropout': fields.take('attention_dropout', 0.0, float),
  }


def write_shape(config):
  """Returns what `read_shape` reads, and the rotary positions."""
  cfg = config.model
  return dict(
    vocab_size=cfg.vocab_size,
    hidden_size=cfg.d_model,
    intermediate_size=cfg.d_ff,
    num_hidden_layers=cfg.num_layers,
    num_attention_heads=cfg.num_heads,
    num_key_value_heads=cfg.num_kv_heads,
    head_dim=cfg.head_dim,
    hidden_act=dialect.activation_name(cfg, dialect.GATES),
    max_position_embeddings=cfg.max_seq_len,
    rms_norm_eps=cfg.norm_eps,
    tie_word_embeddings=cfg.tie_embeddings,
    attention_dropout=cfg.attention_dropout,
  ) | dialect.write_rope(cfg)


def to_config(fields):
  """Returns our fields of a LlamaConfig."""
  shape = read_shape(fields)
  fields.expect('rope_interleaved', False)  # of SmolLM's authors
  fields.ignore('is_llama_config', 'max_sequence_length')  # of some; nobody reads them
  has_bias = fields.take('attention_bias', False, bool)
  return (
    shape
    | dialect.read_rope(fields, shape['model.max_seq_len'])
    | {
      'model.qkv_bias': has_bias,
      'model.out_bias': has_bias,
      'model.mlp_bias': fields.take('mlp_bias', False, bool),
      'model.tie_embeddings': fields.take('tie_word_embeddings', False, bool),
    }
  )


def from_config(config):
  """Returns a LlamaConfig of our fields."""
  cfg = config.model
  return write_shape(config) | dict(
    attention_bias=biases(cfg)['qkv'], mlp_bias=biases(cfg)['mlp']
  )


def biases(cfg):
  """Returns {part: whether its linear layers have biases} of a ModelConfig."""
  parts = dict(qkv=cfg.qkv_bias, out=cfg.out_bias, mlp=cfg.mlp_bias)
  return {part: cfg.bias if own is None else own for part, own in parts.items()}


def table(config):
  """Returns all tensors of a LlamaForCausalLM, and of its heirs'."""
  cfg, has = config.model, biases(config.model)
  entries = [
    *dialect.embedding(config, 'model.embed_tokens.weight'),
    *norm('final_norm', 'model.norm'),
  ]
  for i, ours in enumerate(layer_names(cfg)):
    theirs = f'model.layers.{i}'
    mine, attention = f'{ours}/attention', f'{theirs}.self_attn'
    entries += _norms(cfg, ours, theirs)
    for name, axes in (('query', 'H K'), ('key', 'G K'), ('value', 'G K')):
      part = (f'{mine}/{name}', f'{attention}.{name[0]}_proj')
      entries += linear(*part, f'({axes}) D', f'D {axes}', has['qkv'])
    out = f'{attention}.o_proj'
    entries += linear(f'{mine}/out', out, 'D (H K)', 'H K D', has['out'])
    if cfg.qk_norm != 'none':
      entries += norm(f'{mine}/query_norm', f'{attention}.q_norm', 'K')
      entries += norm(f'{mine}/key_norm', f'{attention}.k_norm', 'K')
    for name in ('gate', 'up'):
      part = (f'{ours}/mlp/{name}', f'{theirs}.mlp.{name}_proj')
      entries += linear(*part, 'F D', 'D F', has['mlp'])
    down = f'{theirs}.mlp.down_proj'
    entries += linear(f'{ours}/mlp/down', down, 'D F', 'F D', has['mlp'])
  return entries


def _norms(cfg, ours, theirs) -> list[Entry]:
  if cfg.norm_position != 'sandwich':
    return [
      *norm(f'{ours}/attention_norm', f'{theirs}.input_layernorm'),
      *norm(f'{ours}/mlp_norm', f'{theirs}.post_attention_layernorm'),
    ]
  return [
    *norm(f'{ours}/attention_norm', f'{theirs}.input_layernorm'),
    *norm(f'{ours}/attention_norm_out', f'{theirs}.post_attention_layernorm'),
    *norm(f'{ours}/mlp_norm', f'{theirs}.pre_feedforward_layernorm'),
    *norm(f'{ours}/mlp_norm_out', f'{theirs}.post_feedforward_layernorm'),
  ]


FAMILY = Family(
  name='llama',
  architectures=('LlamaForCausalLM', 'LlamaModel'),
  to_config=to_config,
  from_config=from_config,
  table=table,
  prefix='model.',
  ignored=(OLD_FREQUENCIES,),
)
