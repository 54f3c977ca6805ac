"""What the config.json and tensors of several families have in common."""

from gpt_jax.interop.mapping import Entry

ACTIVATIONS = {
  'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu', 'gelu_fast': 'gelu',
  'gelu': 'gelu_exact', 'relu': 'relu', 'silu': 'silu', 'swish': 'silu',
  'relu2': 'relu2',
}  # fmt: skip
"""Their name of a plain activation -> ours. gelu_fast is the tanh form as well."""

GATES = {
  'silu': 'swiglu', 'swish': 'swiglu', 'gelu_pytorch_tanh': 'geglu',
  'gelu_new': 'geglu', 'gelu_fast': 'geglu', 'relu': 'reglu',
}  # fmt: skip
"""Their name of a gate's activation -> our name of the gated one."""


def activation_name(cfg, names=None):
  """Returns their name of a ModelConfig's activation, ours where they have none."""
  names = ACTIVATIONS if names is None else names
  return next(
    (name for name, ours in names.items() if ours == cfg.activation), cfg.activation
  )


def embedding(config, theirs, head='lm_head.weight'):
  """Returns the entries of the embedding and of the output layer, tied or its own."""
  if config.model.tie_embeddings:
    return [Entry(theirs, ('embed/embedding',), 'V D', 'V D', aliases=(head,))]
  return [
    Entry(theirs, ('embed/embedding',), 'V D', 'V D'),
    Entry(head, ('head/kernel',), 'V D', 'D V'),
  ]
