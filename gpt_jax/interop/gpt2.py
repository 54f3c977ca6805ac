"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, fused q/k/v, tied head.

Its linear layers are stored [in, out], as ours; all later families store [out, in].
"""

from gpt_jax.interop import dialect
from gpt_jax.interop.family import Family
from gpt_jax.interop.mapping import Entry, layer_names, norm


def to_config(fields):
  """Returns our fields of a GPT2Config."""
  width = fields.take('n_embd', 768)
  fields.expect('scale_attn_weights', True)
  fields.expect('scale_attn_by_inverse_layer_idx', False)
  fields.ignore('n_ctx')  # of old files, equal to n_positions
  # There an order of multiplications, and float32 where the rest is less.
  fields.ignore('reorder_and_upcast_attn')
  return {
    'model.vocab_size': fields.take('vocab_size', 50257),
    'model.num_layers': fields.take_layers('n_layer', 12),
    'model.d_model': width,
    'model.num_heads': fields.take('n_head', 12),
    'model.d_ff': fields.take('n_inner', 4 * width),
    'model.max_seq_len': fields.take('n_positions', 1024),
    'model.position': 'learned',
    'model.norm': 'layernorm',
    'model.norm_eps': fields.take('layer_norm_epsilon', 1e-5, float),
    'model.bias': True,
    'model.activation': fields.choose(
      'activation_function', dialect.ACTIVATIONS, 'gelu_new'
    ),
    'model.tie_embeddings': fields.take('tie_word_embeddings', True, bool),
    'model.embed_dropout': fields.take('embd_pdrop', 0.1, float),
    'model.attention_dropout': fields.take('attn_pdrop', 0.1, float),
    'model.residual_dropout': fields.take('resid_pdrop', 0.1, float),
  }


def from_config(config):
  """Returns a GPT2Config of our fields."""
  cfg = config.model
  return dict(
    vocab_size=cfg.vocab_size,
    n_layer=cfg.num_layers,
    n_embd=cfg.d_model,
    n_head=cfg.num_heads,
    n_inner=cfg.d_ff,
    n_positions=cfg.max_seq_len,
    layer_norm_epsilon=cfg.norm_eps,
    activation_function=dialect.activation_name(cfg),
    tie_word_embeddings=cfg.tie_embeddings,
    embd_pdrop=cfg.embed_dropout,
    attn_pdrop=cfg.attention_dropout,
    resid_pdrop=cfg.residual_dropout,
  )


def table(config):
  """Returns all tensors of a GPT2LMHeadModel."""
  entries = [
    *dialect.embedding(config, 'transformer.wte.weight'),
    Entry('transformer.wpe.weight', ('position/embedding',), 'M D', 'M D'),
    *norm('final_norm', 'transformer.ln_f', has_bias=True),
  ]
  for i, ours in enumerate(layer_names(config.model)):
    theirs = f'transformer.h.{i}'
    qkv = [f'{ours}/attention/{name}' for name in ('query', 'key', 'value')]
    entries += [
      *norm(f'{ours}/attention_norm', f'{theirs}.ln_1', has_bias=True),
      *norm(f'{ours}/mlp_norm', f'{theirs}.ln_2', has_bias=True),
      Entry(
        f'{theirs}.attn.c_attn.weight',
        tuple(f'{name}/kernel' for name in qkv),
        'D (P H K)',
        'D H K',
      ),
      Entry(
        f'{theirs}.attn.c_attn.bias',
        tuple(f'{name}/bias' for name in qkv),
        '(P H K)',
        'H K',
      ),
      *_linear(f'{ours}/attention/out', f'{theirs}.attn.c_proj', '(H K) D', 'H K D'),
      *_linear(f'{ours}/mlp/up', f'{theirs}.mlp.c_fc', 'D F', 'D F'),
      *_linear(f'{ours}/mlp/down', f'{theirs}.mlp.c_proj', 'F D', 'F D'),
    ]
  return entries


def _linear(ours, theirs, their_axes, our_axes):
  out = our_axes[-1]
  return [
    Entry(f'{theirs}.weight', (f'{ours}/kernel',), their_axes, our_axes),
    Entry(f'{theirs}.bias', (f'{ours}/bias',), out, out),
  ]


FAMILY = Family(
  name='gpt2',
  architectures=('GPT2LMHeadModel', 'GPT2Model'),
  to_config=to_config,
  from_config=from_config,
  table=table,
  prefix='transformer.',
  ignored=(r'(^|\.)h\.\d+\.attn\.(bias|masked_bias)$',),  # causal masks
)
