"""The frozen parameters of a run that trains few: read from where they came from.

Checkpoints of such a run (`peft.name`) hold what trains. The record of each step has a
Base: which run or pretrained model has the rest, by which names, and a checksum of each
array, so that an adapter never stands on another model than its own.
"""

import dataclasses

from gpt_jax.core import array_checksums, pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program import init_from
from gpt_jax.program.init_rules import Take
from gpt_jax.quantization import packed

RECORD = 'base'  # in the record of a step


@dataclasses.dataclass(frozen=True)
class Base:
  """Where the parameters that a checkpoint does not hold are."""

  source: str  # as init_from was
  step: int
  dtype: str  # of the parameters as they are read
  sources: dict[str, str]  # parameter -> its name there; layers in this run's form
  checksums: dict[str, int]  # of what is read, by the names that are saved there

  @classmethod
  def of(cls, report, config, frozen):
    """Returns the Base of a training whose first parameters `report` is about.

    Raises CheckpointError for frozen parameters that init_from does not have.
    """
    frozen = sorted(name for name in frozen if not packed.is_part(name))
    missing = [name for name in frozen if name not in report.sources]
    if missing:
      raise CheckpointError(
        f'peft.name={config.peft.name!r}: {", ".join(missing[:3])} would be frozen at'
        f' random, {len(missing)} in all: init_from={config.init_from!r} has nothing'
        ' to take for them. Start from a model that has them.'
      )
    sources = {name: report.sources[name] for name in frozen}
    return cls(
      report.source, report.step, config.model.param_dtype, sources, report.checksums
    )

  @classmethod
  def of_step(cls, store, step):
    """Returns the Base of a saved step, None where it holds all parameters."""
    record = store.read_meta(step).get(RECORD)
    return None if record is None else cls(**record)

  def as_json(self):
    return dataclasses.asdict(self)

  @property
  def fingerprint(self):
    """Twelve hex digits that differ between models."""
    return array_checksums.combine(self.checksums)

  def saved(self, items):
    """Returns the `items` of a state without the parameters of the base."""
    own = {
      name: leaf
      for name, leaf in pytree.named_leaves(items['params'])
      if name not in self.sources and not packed.is_part(name)
    }
    kept = items | {'params': pytree.nested(own)}
    if 'ema' in items:
      kept['ema'] = pytree.nested(dict(pytree.named_leaves(items['ema'])))
    return kept

  def read(self, source, path, leaves):
    """Returns {name: array} of parameters of the base, placed as `leaves` say.

    `source` is the open reader of `path`. Codes of stored kernels in `leaves` are made
    anew: of the same kernels they are the same. Raises CheckpointError where the step
    is gone or is another model.
    """
    if self.step not in source.steps():
      raise CheckpointError(
        f'{path}: the adapter was trained on its step {self.step}, which is gone;'
        f' it has steps {source.steps()}.'
      )
    takes = {
      name: Take((self.sources[name],), cast=True)
      for name in leaves
      if not packed.is_part(name)
    }
    found, now = init_from.read_taken(source, self.step, takes, leaves, self.dtype)
    other = [name for name, value in now.items() if self.checksums[name] != value]
    if other:
      raise CheckpointError(
        f'{path} is not the model that this adapter was trained on, which was'
        f' {self.source} at step {self.step} (fingerprint {self.fingerprint}):'
        f' {len(other)} of {len(now)} parameters differ, such as {other[0]}.'
      )
    return found


def require_same_base(one, place, other, other_place):
  """Raises ConfigError unless all arrays that two Bases have both read are the same.

  `place`, `other_place`: of their adapters, for the message.
  """
  common = one.checksums.keys() & other.checksums.keys()
  differ = sorted(n for n in common if one.checksums[n] != other.checksums[n])
  if not common or differ:
    raise ConfigError(
      f'{place} stands on {one.source} (fingerprint {one.fingerprint}), {other_place}'
      f' on {other.source} (fingerprint {other.fingerprint}): updates of one model mean'
      ' nothing on another'
      + (f'; {len(differ)} arrays differ, such as {differ[0]}.' if differ else '.')
    )
