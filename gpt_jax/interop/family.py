"""What a family of models is: the meaning of its config.json and its tensors' names."""

import dataclasses
from collections.abc import Callable
from typing import Any

from gpt_jax.config.schema import Config
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.mapping import Entry


@dataclasses.dataclass(frozen=True)
class Family:
  """One kind of models; a new one is a file with it, and a line in FAMILIES."""

  name: str  # their model_type
  # Class names in `architectures` of config.json; `to_config` may look which it is.
  architectures: tuple[str, ...]
  # (fields) -> {dotted field of ours: value}; reads every field that it knows
  to_config: Callable[[Fields], dict[str, Any]]
  # (config) -> the content of config.json, without architectures and dtype. What it
  # cannot express need not be looked at: `to_config` of the result is compared.
  from_config: Callable[[Config], dict[str, Any]]
  # (config) -> every tensor
  table: Callable[[Config], list[Entry]]
  # Regexes of tensors that hold no parameters: masks and frequencies of old files.
  ignored: tuple[str, ...] = ()
  # ... of parameters of another task that published files have besides: said, not read.
  unused: tuple[str, ...] = ()
  # Of their names, where a file of the model without its output layer has none.
  prefix: str = ''
  # (config) -> the architecture to write; None: the first one
  architecture_of: Callable[[Config], str] | None = None
