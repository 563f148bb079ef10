"""Pure maths on tensors: no state, no files."""
