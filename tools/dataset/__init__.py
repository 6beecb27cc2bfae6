"""Tools that build the data set in `data/rotationbench`: the real and the generated split, index and checksums."""
