"""What a method's format is: the meaning of adapter_config.json and of its tensors."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_jax.config.schema import Config
from gpt_jax.interop.family import Family
from gpt_jax.interop.fields import Fields

PREFIX = 'base_model.model.'
"""Of the names of tensors of modules."""
CONFIG, TENSORS = 'adapter_config.json', 'adapter_model.safetensors'
HARMLESS = (
  'auto_mapping', 'base_model_name_or_path', 'inference_mode', 'peft_type',
  'peft_version', 'revision', 'task_type',
)  # fmt: skip
"""Fields of every adapter_config.json that change no number."""


@dataclasses.dataclass(frozen=True)
class Source:
  """A run to be written."""

  config: Config
  family: Family
  read: Callable[[list[str]], dict[str, np.ndarray]]  # parameters by name


@dataclasses.dataclass(frozen=True)
class Target:
  """A folder to be read onto a base."""

  config: Config  # of the plain model, with the adapter's task head
  family: Family
  fields: Fields
  # By name, without the prefix; a format takes out what it has read.
  tensors: dict[str, np.ndarray]
  problems: list[str]  # about tensors: a format adds to it

  def take(self, name, shape):
    """Returns a tensor as float32; None, and a problem, where it is not as expected."""
    array = self.tensors.pop(name, None)
    if array is None:
      self.problems.append(f'{name} {list(shape)}: missing')
      return None
    if array.shape != tuple(shape):
      self.problems.append(f'{name}: {list(array.shape)}, expected {list(shape)}')
      return None
    return array.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Format:
  """The format of one method; a new one is a file with it, and a line in FORMATS."""

  peft_type: str
  # (Source) -> (fields of adapter_config.json, {name without prefix: array}).
  # ConfigError for what the format cannot say.
  write: Callable[[Source], tuple[dict[str, Any], dict[str, np.ndarray]]]
  # (Target) -> (Config with its peft section, {parameter: array})
  read: Callable[[Target], tuple[Config, dict[str, np.ndarray]]]
  prefix: str = PREFIX  # of the names of its tensors
