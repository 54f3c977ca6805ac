"""GPTQ: a kernel's rows are rounded one by one, the rest makes up for each error.

Frantar et al., arXiv:2210.17323, algorithm 1, with scales chosen before. What is made
small is the error of outputs on calibration data, tr (W - Q)^T H (W - Q), H = X^T X.
"""

import numpy as np
import scipy.linalg

from gpt_jax.quantization.int4 import LARGEST, LEAST

DAMPING = 0.01
"""Of the mean of the diagonal, added to it (section 3.3, step 3)."""
BLOCK = 64
"""Rows between updates of all that follow (step 2)."""


def quantize(kernel_CF, moment_CC, scale_GF):
  """Returns the codes int8 [C, F] of a kernel in 4 bits, for scales of its groups."""
  C, F = np.shape(kernel_CF)
  # Inputs that say most come first, while there is much left to make up for them
  # ("activation order" of the authors' code); groups keep their places.
  order_C = np.argsort(-np.diag(moment_CC), kind='stable')
  weights_CF = np.array(kernel_CF, np.float32)[order_C]
  moment_CC = np.asarray(moment_CC)[np.ix_(order_C, order_C)]
  weights_CF[np.diag(moment_CC) == 0] = 0.0  # never read
  scale_CF = np.repeat(np.asarray(scale_GF, np.float32), C // len(scale_GF), axis=0)
  scale_CF = scale_CF[order_C]
  divisor_CF = np.where(scale_CF != 0, scale_CF, 1.0)
  factor_CC = _inverse_factor(moment_CC)
  codes_CF = np.zeros((C, F), np.int8)
  for start in range(0, C, BLOCK):
    end = min(start + BLOCK, C)
    block_SF = weights_CF[start:end]
    errors_SF = np.zeros_like(block_SF)
    for i, at in enumerate(range(start, end)):
      code_F = np.clip(np.round(block_SF[i] / divisor_CF[at]), LEAST, LARGEST)
      codes_CF[order_C[at]] = code_F
      errors_SF[i] = (block_SF[i] - code_F * scale_CF[at]) / factor_CC[at, at]
      block_SF[i + 1 :] -= factor_CC[at, at + 1 : end, None] * errors_SF[i]
    weights_CF[end:] -= factor_CC[start:end, end:].T @ errors_SF
  return codes_CF


def output_error(difference_CF, moment_CC):
  """Returns tr D^T H D: the squared error of outputs for an error D of a kernel."""
  moved_CF = np.asarray(moment_CC, np.float32) @ np.asarray(difference_CF, np.float32)
  return float((np.asarray(difference_CF) * moved_CF).sum(dtype=np.float64))


def _inverse_factor(moment_CC):
  """Returns U, upper triangular, with U^T U the inverse of the damped moment."""
  damped_CC = np.array(moment_CC, np.float64)
  diagonal = np.diag_indices_from(damped_CC)
  damped_CC[diagonal] += np.where(damped_CC[diagonal] == 0, 1.0, 0.0)
  damped_CC[diagonal] += DAMPING * damped_CC[diagonal].mean()
  lower = scipy.linalg.cho_factor(damped_CC, lower=True)
  inverse_CC = scipy.linalg.cho_solve(lower, np.eye(len(damped_CC)))
  return scipy.linalg.cholesky(inverse_CC).astype(np.float32)
