"""A small engine of our own: decoders on CPU, CUDA and Ascend, each answer the same in any batch."""
