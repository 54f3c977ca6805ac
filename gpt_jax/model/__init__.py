"""The Transformer as Flax Linen modules; read `gpt` first.

A position encoding is an entry in `positions.POSITIONS`, an activation function one in
`activations.ACTIVATIONS`; a new kind of block is a file beside `gpt`.
"""
