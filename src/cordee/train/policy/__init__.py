"""What a training job decides, without I/O, clock or PyTorch: the simulator runs the same objects."""
