"""Sections of a config that change what plain training is: each has a page in docs/."""

from typing import Any

from gpt_jax.core.sections import (
  above,
  at_least,
  between,
  comma_separated,
  one_of,
  rate,
  section,
)


@section
class RegularizationConfig:
  mixup: float = at_least(0.0)
  cutoff: float = rate()
  adversarial: str = one_of('none', 'fgm', 'pgd', 'freelb')
  adversarial_epsilon: float = above(0.0)
  adversarial_steps: int = between(1, 64)
  adversarial_step_size: float = above(0.0)
  adversarial_weight: float = at_least(0.0)
  r_drop: float = at_least(0.0)
  l2_sp: float = at_least(0.0)


@section
class DistillConfig:
  teacher: str
  weight: float = between(0.0, 1.0)
  temperature: float = above(0.0)
  hidden_weight: float = at_least(0.0)
  hidden_loss: str = one_of('cosine', 'mse')
  layers: tuple[str, ...] = comma_separated()


@section
class PeftConfig:
  name: str
  options: Any
  base_storage: str = one_of('as_is', 'int8', 'nf4')
  init_from: str
