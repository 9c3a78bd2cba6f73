"""What two stages must agree on. Standard library, NumPy and safetensors only; imports no stage."""
