"""Tests of gpt_jax.harness."""
