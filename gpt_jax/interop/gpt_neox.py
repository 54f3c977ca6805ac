"""GPT-NeoX (arXiv:2204.06745) and Pythia (arXiv:2304.01373).

Attention and MLP read the same stream, each after a LayerNorm of its own; a quarter of
each head rotates; q, k, v of a head lie side by side in one matrix.
"""

from gpt_jax.interop import dialect
from gpt_jax.interop.family import Family
from gpt_jax.interop.llama import biases
from gpt_jax.interop.mapping import Entry, layer_names, linear, norm


def to_config(fields):
  """Returns our fields of a GPTNeoXConfig."""
  width, heads = (
    fields.take('hidden_size', 6144),
    fields.take('num_attention_heads', 64),
  )
  if heads and width % heads:
    fields.refuse(f'hidden_size={width}: does not divide over {heads} heads')
  has_bias = fields.take('attention_bias', True, bool)
  dropout = fields.take('hidden_dropout', 0.0, float)
  positions = fields.take('max_position_embeddings', 2048)
  is_parallel = fields.take('use_parallel_residual', True, bool)
  return _read_rope(fields, positions) | {
    'model.vocab_size': fields.take('vocab_size', 50432),
    'model.num_layers': fields.take_layers('num_hidden_layers', 44),
    'model.d_model': width,
    'model.num_heads': heads,
    'model.d_ff': fields.take('intermediate_size', 24576),
    'model.max_seq_len': positions,
    'model.block': 'parallel_norms' if is_parallel else 'serial',
    'model.norm': 'layernorm',
    'model.norm_eps': fields.take('layer_norm_eps', 1e-5, float),
    'model.bias': True,
    'model.qkv_bias': has_bias,
    'model.out_bias': has_bias,
    'model.activation': fields.choose('hidden_act', dialect.ACTIVATIONS, 'gelu'),
    'model.tie_embeddings': fields.take('tie_word_embeddings', False, bool),
    'model.attention_dropout': fields.take('attention_dropout', 0.0, float),
    'model.embed_dropout': dropout,
    'model.residual_dropout': dropout,
  }


def _read_rope(fields, positions):
  theta = fields.take('rotary_emb_base', 10_000.0, float)
  theta = fields.take('rope_theta', theta, float)
  fraction = fields.take('rotary_pct', 0.25, float)
  fraction = fields.take('partial_rotary_factor', fraction, float)
  given = fields.peek('rope_parameters', fields.peek('rope_scaling', {}))
  if isinstance(given, dict):
    given = dict(given)
    inner = given.pop('partial_rotary_factor', fraction)
    is_number = isinstance(inner, int | float) and not isinstance(inner, bool)
    if is_number and 0 < inner <= 1:
      fraction = float(inner)
    else:
      fields.refuse(f'partial_rotary_factor={inner!r}: expected a number from 0 to 1')
  found = dialect.rope_of(fields, given, 'rope_parameters', theta, positions)
  return found | {'model.rope_fraction': fraction}


def from_config(config):
  """Returns a GPTNeoXConfig of our fields."""
  cfg = config.model
  rope = dialect.write_rope(cfg)
  return dict(
    vocab_size=cfg.vocab_size,
    hidden_size=cfg.d_model,
    num_hidden_layers=cfg.num_layers,
    num_attention_heads=cfg.num_heads,
    intermediate_size=cfg.d_ff,
    hidden_act=dialect.activation_name(cfg),
    max_position_embeddings=cfg.max_seq_len,
    layer_norm_eps=cfg.norm_eps,
    use_parallel_residual=cfg.block == 'parallel_norms',
    attention_bias=biases(cfg)['qkv'],
    tie_word_embeddings=cfg.tie_embeddings,
    attention_dropout=cfg.attention_dropout,
    hidden_dropout=cfg.residual_dropout,
    rotary_emb_base=rope['rope_theta'],
    rotary_pct=cfg.rope_fraction,
    rope_scaling=rope['rope_scaling'],
  )


def table(config):
  """Returns all tensors of a GPTNeoXForCausalLM."""
  cfg, has = config.model, biases(config.model)
  entries = [
    *dialect.embedding(
      config, 'gpt_neox.embed_in.weight', 'embed_out.weight', ('lm_head.weight',)
    ),
    *norm('final_norm', 'gpt_neox.final_layer_norm', has_bias=True),
  ]
  for i, ours in enumerate(layer_names(cfg)):
    theirs = f'gpt_neox.layers.{i}'
    qkv = [f'{ours}/attention/{name}' for name in ('query', 'key', 'value')]
    fused, first, second = (
      f'{theirs}.attention.query_key_value',
      f'{theirs}.input_layernorm',
      f'{theirs}.post_attention_layernorm',
    )
    kernels = tuple(f'{name}/kernel' for name in qkv)
    entries += [
      *norm(f'{ours}/attention_norm', first, has_bias=True),
      *norm(f'{ours}/mlp_norm', second, has_bias=True),
      Entry(f'{fused}.weight', kernels, '(H P K) D', 'D H K'),
      *linear(
        f'{ours}/attention/out', f'{theirs}.attention.dense', 'D (H K)', 'H K D',
        has['out'],
      ),
      *linear(f'{ours}/mlp/up', f'{theirs}.mlp.dense_h_to_4h', 'F D', 'D F', True),
      *linear(f'{ours}/mlp/down', f'{theirs}.mlp.dense_4h_to_h', 'D F', 'F D', True),
    ]  # fmt: skip
    if has['qkv']:
      names = tuple(f'{name}/bias' for name in qkv)
      entries.append(Entry(f'{fused}.bias', names, '(H P K)', 'H K'))
  return entries


FAMILY = Family(
  name='gpt_neox',
  architectures=('GPTNeoXForCausalLM', 'GPTNeoXModel'),
  to_config=to_config,
  from_config=from_config,
  table=table,
  prefix='gpt_neox.',
  ignored=(r'(^|\.)layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$',),
)
