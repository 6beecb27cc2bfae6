"""MiniSD: a small text-to-picture model in the layout of Stable Diffusion 1.5, and the recipe that trains it."""
