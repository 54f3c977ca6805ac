"""Texts to probabilities of classes, by a model that class_labels has trained."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.types import PyTree
from gpt_jax.inference import adapted
from gpt_jax.inference.encoder import Encoder
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head


@dataclasses.dataclass(frozen=True)
class _Forward:
  """What `Objective.outputs` calls, as `program.forward.Forward` without dropout."""

  model: GPT
  params: PyTree

  def __call__(self, *inputs):
    return self._apply('__call__', *inputs)[0]

  def hidden(self, *inputs):
    return self._apply('hidden', *inputs)[:2]

  def task_head(self, x):
    return self.model.apply({'params': self.params}, x, method='apply_task_head')

  def _apply(self, method, inputs_BT, mask, positions_BT, token_types_BT=None):
    inputs = inputs_BT, mask, positions_BT, None, token_types_BT  # without a cache
    return self.model.apply({'params': self.params}, *inputs, method=method)


class Classifier:
  """Gives each text the probabilities of its classes, as evaluation computes them."""

  def __init__(self, config, params, tokenizer, rules=None):
    """Takes what `Encoder` takes; ConfigError for a model of another objective."""
    objective = objectives.make_objective(
      config.objective,
      vocab=objectives.Vocab(tokenizer.vocab_size),
      seq_len=config.data.seq_len,
    )
    if config.objective.name != 'class_labels':
      raise ConfigError(
        f'objective.name={config.objective.name!r}: this model gives texts no classes;'
        ' class_labels trains one that does.'
      )
    self._texts = Encoder(config, params, tokenizer, rules)
    self._params, self._num_labels = params, objective.num_outputs
    attend, adapter = adapted.make_model_parts(config)
    model = peft.make_gpt(
      adapter, dataclasses.replace(config.model, remat='none'), attend, rules,
      make_head(config, objective.num_outputs),
    )  # fmt: skip
    self._forward = jax.jit(
      functools.partial(_probabilities, model=model, objective=objective)
    )

  def classify(self, texts, max_tokens=None, progress=None):
    """Returns float32 [N, C], rows that sum to 1; arguments are those of `embed`."""
    rows = self._texts.encode(texts, max_tokens)
    found_NC = np.zeros((len(rows), self._num_labels), np.float32)
    for numbers, tokens_BT, length_B in self._texts.batches(rows, progress):
      found_BC = self._forward(self._params, tokens_BT, length_B)
      found_NC[numbers] = np.asarray(found_BC)[: len(numbers)]
    return found_NC

  def compile_all(self, max_tokens=None):
    """Runs the program of one text of each length once: none of these waits then."""
    for tokens_BT, length_B in self._texts.of_each_length(max_tokens):
      self._forward(self._params, tokens_BT, length_B)


def _probabilities(params, tokens_BT, length_B, *, model, objective):
  # One more place: the end token is read, as in rows of training that have space left.
  tokens_BN = jnp.pad(tokens_BT, ((0, 0), (0, 1)))
  place_N = jnp.arange(tokens_BN.shape[1])
  batch = dict(
    tokens=tokens_BN,
    segments=(place_N < length_B[:, None]).astype(jnp.int32),
    labels=jnp.where(place_N == length_B[:, None] - 1, 0, -1),
  )
  example, forward = objective(batch, jax.random.key(0)), _Forward(model, params)
  outputs_BTC = objective.outputs(forward, example)
  asked_B = jnp.argmax(example.weights_BT, axis=1)
  outputs_BC = jnp.take_along_axis(outputs_BTC, asked_B[:, None, None], axis=1)[:, 0]
  return jax.nn.softmax(outputs_BC)
