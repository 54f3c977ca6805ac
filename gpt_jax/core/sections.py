"""Sections of a config: frozen dataclasses whose fields carry their ranges.

`config/schema.py` has the sections of every run, an entry of a registry may have one of
its own (`registry.entry`); `config/values.py` checks values by them.
"""

import dataclasses
from typing import Any, dataclass_transform

_REQUIRED: Any = dataclasses.MISSING


def at_least(low, default=_REQUIRED) -> Any:
  return _field(default, at_least=low)


def above(low, default=_REQUIRED) -> Any:
  return _field(default, above=low)


def between(low, high, default=_REQUIRED) -> Any:
  return _field(default, at_least=low, at_most=high)


def rate(default=_REQUIRED) -> Any:
  # A dropout of 1 keeps nothing, a decay of 1 learns nothing.
  return _field(default, at_least=0.0, below=1.0)


def a_seed(default=_REQUIRED) -> Any:
  return between(0, 2**31 - 1, default)  # jax keys are made from 32-bit integers


def one_of(*choices, default=_REQUIRED) -> Any:
  return _field(default, choices=choices)


def comma_separated(default=_REQUIRED) -> Any:
  """A tuple of texts without commas: the command line may give it as `a,b`."""
  return _field(default, is_comma_separated=True)


def _field(default, **limits):
  return dataclasses.field(default=default, metadata=limits)


@dataclass_transform(
  kw_only_default=True,
  frozen_default=True,
  field_specifiers=(
    at_least,
    above,
    between,
    rate,
    a_seed,
    one_of,
    comma_separated,
  ),  # fmt: skip
)
def section(cls):
  """Returns `cls` as a frozen dataclass with keyword arguments only."""
  return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


@section
class NoOptions:
  """The options of an entry that declares none."""
