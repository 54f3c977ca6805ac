"""GPTQ: a kernel's rows are rounded one by one, the rest makes up for each error.

Frantar et al., arXiv:2210.17323, algorithm 1, in order of the inputs. What is made
small is the error of outputs on calibration data, tr (W - Q)^T H (W - Q), H = X^T X.
"""

import ml_dtypes
import numpy as np
import scipy.linalg

from gpt_jax.quantization.int4 import LARGEST

DAMPING = 0.01
"""Of the mean of the diagonal, added to it (section 3.3, step 3)."""


def quantize(kernel_CF, moment_CC, groups):
  """Returns (codes int8 [C, F], scales bfloat16 [groups, F]) of a kernel in 4 bits."""
  weights_CF = np.array(kernel_CF, np.float32)
  C, F = weights_CF.shape
  factor_CC = _inverse_factor(moment_CC)
  unread_C = np.diag(moment_CC) == 0
  weights_CF[unread_C] = 0.0
  codes_CF = np.zeros((C, F), np.int8)
  scale_GF = np.zeros((groups, F), ml_dtypes.bfloat16)
  size = C // groups
  for group in range(groups):
    start, end = group * size, (group + 1) * size
    block_SF = weights_CF[start:end]
    scale_GF[group] = np.abs(block_SF).max(0) / LARGEST
    scale_F = scale_GF[group].astype(np.float32)
    divisor_F = np.where(scale_F > 0, scale_F, 1.0)
    errors_SF = np.zeros_like(block_SF)
    for i in range(size):
      code_F = np.clip(np.round(block_SF[i] / divisor_F), -LARGEST, LARGEST)
      codes_CF[start + i] = code_F
      row = factor_CC[start + i]
      errors_SF[i] = (block_SF[i] - code_F * scale_F) / row[start + i]
      block_SF[i + 1 :] -= row[start + i + 1 : end, None] * errors_SF[i]
    weights_CF[end:] -= factor_CC[start:end, end:].T @ errors_SF
  return codes_CF, scale_GF


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
