"""What a server compiles at its start beside the programs that write texts.

Texts of any length share a few programs. Vectors, classes and the log-probabilities of
a prompt have a program for each length up to the next power of two, and the first who
asks would wait for it.
"""

from gpt_jax.core.errors import ConfigError
from gpt_jax.examples import fields
from gpt_jax.inference.packing import MIN_BUCKET
from gpt_jax.serving import embeddings
from gpt_jax.serving.model import CLASSES, TEXT, VECTORS

EMBEDDINGS, CLASSIFY, ECHO = 'embeddings', 'classify', 'echo'
AUTO = 'auto'
"""What a model is for: classes where it has a head, else vectors unless it writes."""
CHOICES = {
  AUTO: None,
  'none': frozenset(),
  'all': frozenset({EMBEDDINGS, CLASSIFY, ECHO}),
}


def parse(text):
  """Returns the set of kinds that `--warm_up` names, None for AUTO."""
  if text in CHOICES:
    return CHOICES[text]
  kinds = frozenset(text.split(','))
  if wrong := sorted(kinds - CHOICES['all']):
    raise ConfigError(
      f'--warm_up={text}: {wrong[0]!r} is none of {", ".join(sorted(CHOICES["all"]))};'
      f' give some of these, or one of {", ".join(CHOICES)}.'
    )
  return kinds


def warm_up(model, kinds=None):
  """Compiles what single texts of any length need of a Model; returns the kinds.

  `kinds` as `parse` returns them; a model does those of which it is capable. Requests
  of several texts may still compile: their number counts as well.
  """
  run, can = model.run, model.abilities
  if kinds is None:
    kinds = {CLASSIFY} if can & {CLASSES, TEXT} else {EMBEDDINGS}
  done = []
  if EMBEDDINGS in kinds and VECTORS in can:
    run.compile_embed(embeddings.limit(run))
    done.append(EMBEDDINGS)
  if CLASSIFY in kinds and CLASSES in can:
    if run.config.task.name:
      _predict(run)
    else:
      run.compile_classify()
    done.append(CLASSIFY)
  if ECHO in kinds and TEXT in can and run.engine.visibility == 'causal':
    _score_prompts(run.engine, model.texts.context)
    done.append(ECHO)
  return done


def _score_prompts(engine, longest):
  length = 0
  while length < longest:
    length = min(max(MIN_BUCKET, 2 * length), longest)
    engine.text_log_probs([0] * length)


def _predict(run):
  """Predicts for one and several examples of each length, if their fields are plain."""
  needs = run.predictor.task.needs
  if not set(needs) <= {*fields.TEXTS, *fields.LISTS}:
    return
  count = 1
  while count < 2 * run.config.data.seq_len:
    words = ['a'] * count
    example = {
      name: words if name in fields.LISTS else ' '.join(words) for name in needs
    }
    run.predict(example)
    run.predict([example] * 2)
    count *= 2
