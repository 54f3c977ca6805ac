"""The exact batch of one step of a run: its documents, their tokens, their loss.

What a step read follows from the config that held then, the data and the rollbacks in
run.json, so no batch is ever recorded. Steps count from 1, as in metrics.jsonl.
"""

import dataclasses

import jax
import numpy as np

from gpt_jax import data as sources
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import documents, pipeline
from gpt_jax.objectives import losses
from gpt_jax.program import restore, setup
from gpt_jax.program.forward import Forward
from gpt_jax.program.horizon import make_horizon
from gpt_jax.program.loss import outputs_of
from gpt_jax.program.step import random_keys
from gpt_jax.train import changes
from gpt_jax.train.rollback import Rollbacks
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

EXCERPT_CHARS = 160


@dataclasses.dataclass
class Part:
  """One document, or what of it lies in a row."""

  row: int
  sample: int
  member: str  # name in the mixture, '' where there is none
  document: int  # number among the documents of the source that have text
  place: str  # file and record; '' for a synthetic language
  first_token: int  # where in the document the part begins
  tokens: list[int]
  text: str  # the beginning, one line; '' for a synthetic language
  # Mean nats over its targets, or over those of the row where targets are no text.
  loss: float | None = None
  targets: int = 0


@dataclasses.dataclass
class Replay:
  step: int
  first_sample: int
  last_sample: int
  parts: list[Part]
  parameters_after_step: int | None  # of the checkpoint that gave the losses


def replay(workdir, step, *, with_loss=True):
  """Returns the Replay of `step` (from 1) of the run in `workdir`.

  The loss is that of the newest checkpoint before the step, without dropout; None
  without one. Raises ConfigError for a step that the run does not have.
  """
  workdir = Workdir(workdir)
  now, events = setup.read_config(workdir), provenance.read_events(workdir)
  horizon = make_horizon(now.train, now.data.seq_len, changes.past_of(events))
  if not 1 <= step <= horizon.total_steps:
    raise ConfigError(f'--step={step}: expected 1 to {horizon.total_steps}.')
  config = setup.resolve(changes.config_at(workdir.read_config(), events, step))
  tokenizer = setup.open_tokenizer(config, workdir)
  dataset = setup.open_training_data(config, tokenizer, workdir)
  program = setup.open_saved_program(config, tokenizer)
  first, last = Rollbacks.read(horizon, events).samples_of(step)
  parts = _Documents(config, dataset, tokenizer).of_samples(range(first, last + 1))
  found = Replay(step, first, last, parts, None)
  # A custom loss need not be a sum over tokens.
  can_score = program.objective.loss is None and workdir.checkpoints.is_dir()
  if with_loss and can_score:
    with CheckpointReader(workdir.checkpoints) as store:
      before = [saved for saved in store.steps() if saved < step]
      if before:
        params, found.parameters_after_step = restore.load_params(
          store,
          program.abstract_state.params,
          step=max(before),
          tokenizer=tokenizer,
          averaged=False,
        )
        _add_losses(found, program, tokenizer, dataset, params)
  return found


class _Documents:
  """Finds the documents that samples are made of."""

  def __init__(self, config, dataset, tokenizer):
    self._dataset, self._tokenizer = dataset, tokenizer
    self._sources = {
      name: sources.make_source(part)
      for name, (part, _) in pipeline.members(config.data).items()
    }
    self._numbers = {}

  def of_samples(self, samples):
    """Returns the Parts of `samples`, row by row."""
    return [part for row, n in enumerate(samples) for part in self._of_sample(row, n)]

  def _of_sample(self, row, n):
    member, spans = self._dataset.spans(n)
    store = self._dataset.stores[member]
    for start, stop in spans:
      document = int(np.searchsorted(store.offsets, start, side='right')) - 1
      while start < stop:
        end = min(stop, int(store.offsets[document + 1]))
        tokens = [int(token) for token in store.read(start, end)]
        first = start - int(store.offsets[document])
        place, text = self._place(member, document), self._text(tokens)
        yield Part(row, n, member, document, place, first, tokens, text)
        start, document = end, document + 1

  def _text(self, tokens):
    if not self._tokenizer.byte_lengths.any():
      return ''
    text = ' '.join(self._tokenizer.decode(tokens).split())
    return text if len(text) <= EXCERPT_CHARS else text[:EXCERPT_CHARS] + ' ...'

  def _place(self, member, document):
    return self._sources[member].place(self._number(member, document))

  def _number(self, member, document):
    """Returns the number in the source of a kept document: empty ones are left out."""
    source, store = self._sources[member], self._dataset.stores[member]
    if len(source) == store.num_documents:
      return document
    if member not in self._numbers:
      self._numbers[member] = [
        i for i in range(len(source)) if not documents.is_empty(source, i)
      ]
    return self._numbers[member][document]


def _add_losses(found, program, tokenizer, dataset, params):
  """Fills in the loss of each Part, with the random draws of the step itself."""
  samples = [
    dataset.sample(n) for n in range(found.first_sample, found.last_sample + 1)
  ]
  batch = {name: np.stack([one[name] for one in samples]) for name in samples[0]}
  objective_rng, _ = random_keys(program.config.seed, found.step - 1)
  example = program.objective(batch, objective_rng)
  objective = program.objective
  num_ids = tokenizer.vocab_size + objective.extra_tokens

  @jax.jit
  def nll(params, example):
    outputs_BTC = outputs_of(objective, Forward(program.model, params), example)

    def total(weights_BT):
      sums = losses.cross_entropy(
        outputs_BTC,
        example.targets_BT,
        weights_BT,
        vocab_limit=None if objective.num_outputs else num_ids,
      )
      return sums.metric_sums['loss']

    # The sum is linear in the weights: its gradient is the loss of each target.
    return jax.grad(total)(example.weights_BT)

  # A few rows at a time: all their logits exist at once.
  rows = program.rules.num_shards('batch')
  costs = [
    nll(params, jax.tree.map(lambda leaf, i=i: leaf[i : i + rows], example))
    for i in range(0, len(samples), rows)
  ]
  nll_BT = np.concatenate([jax.device_get(cost) for cost in costs])
  weights_BT = np.asarray(example.weights_BT)
  is_text = program.objective.predicts_text
  for row in range(len(samples)):
    column = 0
    for part in (part for part in found.parts if part.row == row):
      # Target t is token t + 1; the first token of a row is no target.
      span = slice(max(column - 1, 0), column + len(part.tokens) - 1)
      column += len(part.tokens)
      weights = weights_BT[row][span] if is_text else weights_BT[row]
      costs_T = nll_BT[row][span] if is_text else nll_BT[row]
      part.targets = int(weights.sum())
      if part.targets:
        part.loss = float((costs_T * weights).sum() / weights.sum())
