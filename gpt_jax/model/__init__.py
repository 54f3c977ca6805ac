"""The Transformer as Flax Linen modules.

Read `gpt` first: it shows a block from top to bottom. `attention` and `layers` hold the
parameters, `initializers` how they start, `positions` everything about position
encodings (a new one is one entry in POSITIONS), `remat` what the backward pass
recomputes, `cache` and `stacking` what decoding needs, `flops` what a token costs. An
activation function is one entry in `layers.ACTIVATIONS`.
"""
