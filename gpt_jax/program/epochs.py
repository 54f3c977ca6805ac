"""Lengths in epochs as steps, once the data is open."""

import dataclasses
import math

from gpt_jax.core.errors import ConfigError


def has_epochs(config):
  """Returns whether any length of a Config is in passes over its training data."""
  return config.train.epochs is not None or any(
    section.every_epochs is not None for section in (config.eval, config.checkpoint)
  )


def fill_in(config, dataset):
  """Returns a Config whose lengths in epochs are given in steps as well.

  An epoch is `len(dataset)` rows in steps of train.batch_size, rounded up. Raises
  ConfigError where train.steps says something else than train.epochs.
  """
  if not has_epochs(config):
    return config
  if config.train.ramp_tokens is not None:
    raise ConfigError(
      'train.ramp_tokens: while batches grow, an epoch has no fixed number of steps;'
      ' set train.steps and every_steps in place of epochs, or ramp_tokens to None.'
    )
  epoch_steps = -(-len(dataset) // config.train.batch_size)
  train = config.train
  if train.epochs is not None:
    steps = max(1, math.ceil(train.epochs * epoch_steps))
    if train.steps not in (None, steps):
      raise ConfigError(
        f'train.steps={train.steps}: train.epochs={train.epochs:g} of {len(dataset):,}'
        f' rows are {steps} steps; set one of the two to None.'
      )
    train = dataclasses.replace(train, steps=steps)
  return dataclasses.replace(
    config,
    train=train,
    eval=_with_steps(config.eval, epoch_steps),
    checkpoint=_with_steps(config.checkpoint, epoch_steps),
  )


def _with_steps(section, epoch_steps):
  if section.every_epochs is None:
    return section
  every = max(1, round(section.every_epochs * epoch_steps))
  return dataclasses.replace(section, every_steps=every)
