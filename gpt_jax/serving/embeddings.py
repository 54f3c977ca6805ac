"""/v1/embeddings: vectors of texts, of length 1."""

import base64

import numpy as np

from gpt_jax.serving.errors import invalid
from gpt_jax.serving.model import VECTORS

TOKENS = 2048
"""Of a text, where the model can read more: longer ones lose their end."""


async def answer(call):
  """Returns the answer of a Call."""
  model = call.use(VECTORS).model
  texts = texts_of(call)
  await call.admit()
  pooling = call.get('pooling', 'mean')
  vectors_ND, count = await model.compute(_embed, texts, pooling)
  call.record.prompt_tokens = count
  is_base64 = call.get('encoding_format', 'float') == 'base64'
  data = [
    {'object': 'embedding', 'index': i, 'embedding': _packed(v) if is_base64 else v}
    for i, v in enumerate(vectors_ND if is_base64 else vectors_ND.tolist())
  ]
  usage = {'prompt_tokens': count, 'total_tokens': count}
  return {
    'object': 'list', 'data': data, 'model': call.record.model, 'usage': usage,
  }  # fmt: skip


def limit(run):
  """Returns how many tokens of a text a Run reads here."""
  return min(TOKENS, run.max_text_tokens)


def texts_of(call):
  """Returns the texts, or objects, of a Call's input as a list."""
  given = call.body['input']
  given = given if isinstance(given, list) else [given]
  if len(given) > call.settings.max_inputs:
    raise invalid(
      'input', f'{len(given)} entries; expected at most {call.settings.max_inputs}.'
    )
  return given


def _embed(run, texts, pooling):
  """Returns (vectors [N, D], how many tokens the texts have)."""
  vectors_ND = run.embed(texts, pooling=pooling, max_tokens=limit(run))
  return vectors_ND, sum(map(len, run.tokenizer.encode_batch(texts)))


def _packed(vector_D):
  return base64.b64encode(np.asarray(vector_D, '<f4').tobytes()).decode()
