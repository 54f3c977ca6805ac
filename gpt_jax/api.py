"""The Python interface: a trained run as an object that writes, scores, gives logits.

run = gpt_jax.load('runs/tiny')
print(run.generate('The function returns', max_new_tokens=64))
"""

import dataclasses
import functools
import shlex

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax import attention, objectives
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config.schema import Config
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.core.types import PyTree
from gpt_jax.data import tokenizers
from gpt_jax.data.tokenizers import Tokenizer
from gpt_jax.inference.sampling import Sampling
from gpt_jax.inference.text import TextGenerator
from gpt_jax.model import positions
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.program import restore, setup
from gpt_jax.workdir.paths import Workdir

HOW_TO_TRAIN = 'gpt-jax train --config=configs/tiny.py --workdir={path}'


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained model with all that is needed to use it."""

  config: Config
  model: GPT
  params: PyTree
  """Stacked as in training; the moving average where the run keeps one."""
  tokenizer: Tokenizer
  step: int

  @functools.cached_property
  def _generator(self):
    # Made at the first use: it holds a copy of the parameters, unrolled to decode fast.
    return TextGenerator(self.config, self.params, self.tokenizer)

  def logits(self, tokens_BT):
    """Returns float32 [B, T, V] for ids of `tokenizer`; V counts real ids only."""
    return self._generator.engine.logits(tokens_BT)

  def generate(
    self, prompts, max_new_tokens=None, temperature=0.0, top_k=0, top_p=1.0, seed=0
  ):
    """Returns what follows the prompt, without the prompt: str for str, else a list.

    Args:
      max_new_tokens: None: inference.max_new_tokens, or what positions allow.
      temperature: 0 takes the likeliest token each time.
      top_k: draw from the k likeliest tokens; 0 is all of them.
      top_p: draw from the likeliest tokens that hold this share of probability.
      seed: decides the text of a prompt, whatever else is in the list; a prompt that
        stands in the list twice gets two texts.
    Raises ConfigError for settings or lengths that the model cannot do.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    return self._generator.generate(prompts, max_new_tokens, sampling, seed)

  def stream(
    self, prompt, max_new_tokens=None, temperature=0.0, top_k=0, top_p=1.0, seed=0
  ):
    """Yields the text of `generate` while it is written, in complete characters."""
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    return self._generator.stream(prompt, max_new_tokens, sampling, seed)

  def score(self, context, continuation):
    """Returns the log-likelihood of `continuation` after `context`, in nats."""
    return self._generator.score(context, continuation)


def load(path, step=None):
  """Returns the Run of a workdir, at checkpoint `step` or the newest one.

  Raises CheckpointError for a folder without one, and for parts of different runs.
  """
  workdir = Workdir(path)
  _require_run(workdir)
  with CheckpointReader(workdir.checkpoints) as store:
    step = restore.choose_step(store, step)
    config = _read_config(workdir)
    if config.model.vocab_size is None:  # the embedding knows: ids in use, padding
      rows = restore.embedding_rows(store, step)
      resolved = dataclasses.replace(config.model, vocab_size=rows)
      config = dataclasses.replace(config, model=resolved)
    tokenizer = tokenizers.load(workdir.tokenizer)
    model, wanted = _abstract_model(config)
    params, _ = restore.load_params(store, wanted, step=step, tokenizer=tokenizer)
  return Run(config, model, params, tokenizer, step)


def _require_run(workdir):
  """Raises CheckpointError that names what `workdir` lacks to be one."""
  missing = [
    path.name
    for path in (workdir.config, workdir.checkpoints, workdir.tokenizer)
    if not path.exists()
  ]
  if not missing:
    return
  is_new = not workdir.path.exists()
  place = shlex.quote(str(workdir if is_new else workdir.path / 'run'))
  found = 'no such folder' if is_new else f'no {", ".join(missing)}'
  raise CheckpointError(
    f'{workdir}: {found}; expected the workdir of a run, with config.json, checkpoints'
    f' and tokenizer. Train one with: {HOW_TO_TRAIN.format(path=place)}'
  )


def _read_config(workdir):
  try:
    return setup.read_config(workdir.path)
  except ConfigError as error:
    raise CheckpointError(f'{workdir.config}: {error}') from error


def _abstract_model(config):
  """Returns (model, its parameters as shapes on one device)."""
  _, attend = attention.choose_kernel(
    config, has_slopes=positions.has_slopes(config.model)
  )
  head = make_head(config, objectives.describe(config).num_outputs)
  model = GPT(config.model, attend, task_head=head)
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
  abstract_params = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
    nn.meta.unbox(shapes['params']),
  )
  return model, abstract_params
