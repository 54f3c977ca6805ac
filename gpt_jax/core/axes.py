"""Names of the mesh axes, and of the logical axes that presets map to them."""

# Outermost (slowest network) first.
MESH_AXES = ('data', 'fsdp', 'sequence', 'tensor', 'expert')

LOGICAL_AXES = (
  # parameters
  'layers', 'vocab', 'embed', 'heads', 'kv_heads', 'head_dim', 'mlp', 'position',
  'embed_vector', 'vocab_vector',
  # activations
  'batch', 'time', 'stream_time', 'act_embed', 'act_heads', 'act_kv_heads', 'act_mlp',
  'act_vocab',
)  # fmt: skip
