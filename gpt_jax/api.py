"""The Python interface: a trained run as an object that writes, scores, gives logits.

run = gpt_jax.load('runs/tiny')
print(run.generate('The function returns', max_new_tokens=64))
"""

import dataclasses
import functools
from typing import Any

import jax

from gpt_jax import objectives, peft
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.config import load as load_config
from gpt_jax.config.schema import Config
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.types import PyTree
from gpt_jax.data import tokenizers
from gpt_jax.data.tokenizers import Tokenizer
from gpt_jax.inference import adapted, placement
from gpt_jax.inference.classifier import Classifier
from gpt_jax.inference.encoder import Encoder
from gpt_jax.inference.text import TextGenerator
from gpt_jax.inference.text_options import texts_of
from gpt_jax.interop import open_model
from gpt_jax.model import exits
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import ShardingRules, make_sharding_rules
from gpt_jax.program import adapters as adapters_of_runs
from gpt_jax.program import build, restore, setup, trained
from gpt_jax.train import task_end
from gpt_jax.train.predict import Predictor
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained model with all that is needed to use it."""

  config: Config
  model: GPT
  params: PyTree = dataclasses.field(repr=False)
  """Stacked as in training; the moving average where the run keeps one."""
  tokenizer: Tokenizer
  step: int
  rules: ShardingRules | None = None
  """Where the parameters lie on a mesh; None: on one device."""

  def __repr__(self):
    model, config = self.config.model, self.config
    where = f' on {self.rules.mesh.size} devices' if self.rules else ''
    return (
      f'Run(step {self.step}: {config.objective.name}, {pytree.count(self.params):,}'
      f' parameters{where}, {model.num_layers} layers of width {model.d_model},'
      f' {self.tokenizer.name} tokenizer of {self.tokenizer.vocab_size:,} ids)'
    )

  def placement(self):
    """Returns a line about the devices that hold the parameters for decoding."""
    if self.rules is None:
      return 'on one device'
    return placement.describe(self.rules, self._generator.engine.params)

  @functools.cached_property
  def _generator(self) -> TextGenerator:
    # Made at the first use: it holds a copy of the parameters, unrolled to decode fast.
    return TextGenerator(
      self.config,
      self.params,
      self.tokenizer,
      self.rules,
      _drafting(self),
      build.adapter_of(self.model),
    )

  @property
  def engine(self):
    """The Engine that works on ids."""
    return self._generator.engine

  def passes(self):
    """Returns what the texts written so far took, by name; {} by plain decoding.

    `speculation` (drafted, accepted, acceptance, tokens_per_pass) with inference.draft,
    `layers` (per_token, of) with inference.exit_measure.
    """
    return self._generator.engine.passes()

  @functools.cached_property
  def _encoder(self):
    return Encoder(self.config, self.params, self.tokenizer, self.rules)

  def logits(self, tokens_BT, adapter=None):
    """Returns float32 [B, T, V] for ids of `tokenizer`; V counts real ids only."""
    return self._generator.engine.logits(tokens_BT, adapter)

  def generate(
    self, prompts, max_new_tokens=None, temperature=None, top_k=None, top_p=None,
    seed=0, **options,
  ):  # fmt: skip
    """Returns what follows the prompt, without the prompt: str for str, else a list.

    A setting is one value, or a list of one for each prompt; None, the default, is the
    value of the run's config, section `inference`, as for `gpt-jax generate`.

    Args:
      max_new_tokens: the text may end before, with the end token. Left out, it is what
        the config says and learned positions leave; more than these is refused, unless
        `beyond_positions` is 'slide'.
      temperature: 0 takes the likeliest token each time.
      top_k: draw from the k likeliest tokens; 0 is all of them.
      top_p: draw from the likeliest tokens that hold this share of probability.
      seed: decides the text of a prompt, whatever else is in the list; a prompt that
        stands in the list twice gets two texts.
      options: min_p, typical_p, repetition_penalty, presence_penalty,
        frequency_penalty, logit_bias, stop, banned, best_of, beams, length_penalty,
        early_stopping, echo, regex, json_schema, choices, beyond_positions, adapter, as
        `gpt_jax/inference/text_options.py` has them.
    Raises ConfigError for settings and prompts that the model cannot do.
    """
    return self._generator.generate(
      prompts, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
      top_p=top_p, seed=seed, **options,
    )  # fmt: skip

  def scheduler(self):
    """Returns a TextScheduler: texts of many senders, sent and cancelled at any time.

    Its slots, prefix cache and queue are as config.inference says (`inference.slots`,
    ...); docs/decoding.md has an example. A list of prompts needs none: `generate` and
    `complete` use slots for more prompts than these.
    """
    return self._generator.scheduler()

  def complete(
    self, prompts, advance=lambda count: None, on_prompt=lambda i, found: None,
    **options,
  ):  # fmt: skip
    """Returns the Completions of a prompt, a list; for a list of prompts, one of each.

    A Completion has text, ids, finish_reason, seed, and what was asked for: log_probs,
    score. Options are those of `generate`, and `n` texts of each prompt, `logprobs` of
    the written and so many likeliest tokens. `n` texts have the seeds `seed`,
    `seed + 1`, ...: each is what `generate` returns for its seed. `advance(count)` is
    told of texts that are written, for a progress bar, and `on_prompt(i, Completions)`
    of prompts all of whose texts are, in any order.
    """
    return self._generator.complete(prompts, advance, on_prompt, **options)

  def stream(
    self, prompt, max_new_tokens=None, temperature=None, top_k=None, top_p=None,
    seed=0, **options,
  ):  # fmt: skip
    """Returns an iterator over the text of `generate`, in complete characters."""
    return self._generator.stream(
      prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
      top_p=top_p, seed=seed, **options,
    )  # fmt: skip

  def score(self, context, continuation, adapter=None):
    """Returns the log-likelihood of `continuation` after `context`, in nats.

    Raises ConfigError where both are longer than the learned positions, plus one token.
    """
    return self._generator.score(context, continuation, adapter)

  def embed(
    self, texts, pooling='mean', normalize=True, max_tokens=None, progress=None
  ):
    """Returns a vector for each text, float32 [N, D]; [D] for a str.

    A text is read as the documents of the training, with their begin and end token.

    Args:
      pooling: of the stream after the last norm: mean of all tokens, first, last, or
        pooler, the model's own layer over the first token.
      normalize: to length 1, so that `vectors @ vectors.T` are cosines.
      max_tokens: longer texts lose their end; None: what the model can read.
      progress: `(iterable, total) -> iterable` that displays a progress bar.
    Raises ConfigError for what is no text, and for a pooling that the model lacks.
    """
    is_one = isinstance(texts, str)
    vectors_ND = self._encoder.embed(
      texts_of([texts] if is_one else texts), pooling=pooling, normalize=normalize,
      max_tokens=max_tokens, progress=progress,
    )  # fmt: skip
    return vectors_ND[0] if is_one else vectors_ND

  @property
  def max_text_tokens(self):
    """Tokens that `embed` and `classify` read of a text, unless told otherwise."""
    return self._encoder.limit

  def compile_embed(self, max_tokens=None):
    """Compiles what `embed` needs for one text of any length, up to `max_tokens`."""
    self._encoder.compile_all(max_tokens)

  def compile_classify(self, max_tokens=None):
    """Compiles what `classify` needs for one text of any length."""
    self._classifier.compile_all(max_tokens)

  @functools.cached_property
  def _classifier(self):
    return Classifier(self.config, self.params, self.tokenizer, self.rules)

  def classify(self, texts, max_tokens=None, progress=None):
    """Returns the probabilities of classes of each text, float32 [N, C]; [C] for a str.

    For models that class_labels has trained, or `...ForSequenceClassification`; other
    ones raise ConfigError. Classes are those of data.label_names, where it has them.
    """
    is_one = isinstance(texts, str)
    found_NC = self._classifier.classify(
      texts_of([texts] if is_one else texts), max_tokens, progress
    )
    return found_NC[0] if is_one else found_NC

  @functools.cached_property
  def predictor(self):
    """The Predictor of a run that was fine-tuned for a task."""
    source = f'step {self.step}'
    return Predictor(self.config, self.params, self.tokenizer, source)

  def predict(self, examples, progress=None):
    """Returns what the run's task predicts: a dict for a text or dict, else a list.

    Of plain JSON values, as the task has them: label and probabilities, tags and
    entities, a text. An example is a text, for tasks that read one, or a dict of the
    task's fields. `progress`: `(iterable, label, total) -> iterable` that displays a
    progress bar. Raises ConfigError for a run without a task.
    """
    is_one = isinstance(examples, str | dict)
    found = self.predictor.predict([examples] if is_one else examples, progress)
    return found[0] if is_one else found

  def score_many(self, items, advance=lambda count: None, truncate=False, adapter=None):
    """Returns a list of Scores for each `(context, [continuation, ...])` of `items`.

    A Score has `log_prob` (that of `score`, up to rounding), `num_tokens` and
    `is_greedy`. Texts that begin alike are read together, the common part once;
    `advance(count)` is told of continuations that are done, for a progress bar.
    `truncate`: a context loses its first tokens where learned positions end, instead of
    an error.
    """
    return self._generator.score_many(items, advance, truncate, adapter=adapter)

  def score_texts(self, texts, advance=lambda count: None, adapter=None):
    """Returns the Score of each whole text; longer ones are read window by window."""
    return self._generator.score_texts(texts, advance, adapter)


def _drafting(run):
  """Returns what SpeculativeEngine takes by a Run's `inference.draft`, or None."""
  asked = run.config.inference
  if not asked.draft:
    return None
  drafting: dict[str, Any] = dict(num_drafts=asked.draft_tokens)
  if asked.draft == 'ngram':
    return drafting
  if (layers := exits.draft_layers(run.config)) is not None:
    return drafting | dict(draft_layers=layers)
  overrides: dict[str, Any] = {'inference.draft': ''}
  if run.rules is not None:  # both on the same devices
    axes = run.config.parallel.mesh
    overrides |= {f'parallel.mesh.{axis}': size for axis, size in axes.items()}
  draft = load(asked.draft, overrides=overrides)
  if draft.tokenizer.fingerprint != run.tokenizer.fingerprint:
    raise ConfigError(
      f'inference.draft={asked.draft!r}: its tokenizer ({draft.tokenizer.name},'
      f' {draft.tokenizer.vocab_size:,} ids) is another one than that of the model'
      f' ({run.tokenizer.name}, {run.tokenizer.vocab_size:,} ids): its ids mean other'
      ' text; use a run with the same tokenizer, "ngram" or "exit:N".'
    )
  return drafting | dict(draft=draft.engine)


def load(path, step=None, overrides=None, adapters=None):
  """Returns the Run of a workdir, at checkpoint `step` or the newest one.

  Of a run with a task, the default is the step with checkpoint.best_metric.
  `path` may also be a pretrained model of others, as `gpt-jax import` takes them.

  Args:
    overrides: `{dotted field: value}` of the sections `parallel` and `inference`, such
      as `{'parallel.mesh.tensor': 4}`, instead of what the run was trained with. With
      `inference.depth` the Run is of the first so many layers.
    adapters: `{name: run}`, runs with peft.name='lora' trained over `path`, whose names
      requests choose from (`adapter=`); docs/adapters_in_decoding.md.
  Without a mesh there, that of the training is used if it shards weights and these
  devices can form it, else one device. Raises CheckpointError for a folder without a
  checkpoint, and for parts of different runs.
  """
  trained.check_overrides(overrides or {})
  if open_model.is_model(path):
    return _load_model(path, step, overrides, adapters)
  workdir = Workdir(path)
  config = trained.read_config(workdir, overrides)
  with _open_checkpoints(workdir, config) as store:
    step = _choose_step(store, config, step)
    if config.model.vocab_size is None:  # the embedding knows: ids in use, padding
      rows = restore.embedding_rows(store, step)
      resolved = dataclasses.replace(config.model, vocab_size=rows)
      config = dataclasses.replace(config, model=resolved)
    tokenizer = tokenizers.load(workdir.tokenizer)
    return _run_of(store, path, config, step, tokenizer, overrides, adapters)


def newest_step(path):
  """Returns the step that `load(path)` takes; None for a pretrained model of others."""
  if open_model.is_model(path):
    return None
  workdir = Workdir(path)
  config = trained.read_config(workdir, {})
  with _open_checkpoints(workdir, config) as store:
    return _choose_step(store, config, None)


def _open_checkpoints(workdir, config):
  kept = config.checkpoint
  best = kept.best_metric, kept.keep_best, kept.best_mode
  return CheckpointReader(workdir.checkpoints, *best)


def _choose_step(store, config, step):
  if step is None and config.task.name:
    step = task_end.best_step(store, config.checkpoint.keep_best)
  return restore.choose_step(store, step)


def _load_model(path, step, overrides, adapters):
  """Returns the Run of a pretrained model of others."""
  with open_model.open_model(path) as store:
    step = restore.choose_step(store, step)
    config = setup.resolve(load_config.to_dict(store.config), overrides)
    return _run_of(store, path, config, step, store.tokenizer, overrides, adapters)


def _run_of(store, path, config, step, tokenizer, overrides, adapters):
  is_asked = any(field.startswith('parallel.mesh') for field in overrides or {})
  rules = _decoding_rules(config, is_asked)
  model = _make_model(config, peft.make_adapter(config))
  wanted = _abstract_params(model, rules)
  # Adapters were trained over the parameters, not over their average.
  averaged = adapters is None
  params, _ = restore.load_params(
    store, wanted, step=step, tokenizer=tokenizer, averaged=averaged
  )
  config, params = peft.plain_form(config, params)
  adapter = peft.make_adapter(config)
  if adapters is not None:
    config, params, adapter = adapters_of_runs.attach(
      path, step, config, params, tokenizer, adapters, rules
    )
  config = exits.shallower(config)
  model, params = _make_model(config, adapter), exits.first_layers(config.model, params)
  return Run(config, model, params, tokenizer, step, rules)


def _decoding_rules(config, is_asked):
  """Returns the ShardingRules to decode by; None: on one device."""
  try:
    mesh = make_mesh(config.parallel.mesh)
  except ConfigError:
    if is_asked:
      raise
    return None  # trained on other devices than these
  rules = make_sharding_rules(config.parallel, mesh)
  rules = placement.decoding_rules(rules, config.model)
  return rules if is_asked or placement.shards_weights(rules) else None


def _make_model(config, adapter):
  attend, adapter = adapted.make_model_parts(config, adapter)
  head = make_head(config, objectives.describe(config).num_outputs)
  return peft.make_gpt(adapter, config.model, attend, None, head)


def _abstract_params(model, rules):
  """Returns the parameters as shapes, on one device or where `rules` say."""
  if rules is None:
    params = jax.eval_shape(functools.partial(build.init_params, model=model), 0)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda _: here, params)
  else:
    variables, shardings = build.shapes_and_shardings(model.clone(rules=rules))
    params = variables['params']
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    params,
    shardings,
  )
