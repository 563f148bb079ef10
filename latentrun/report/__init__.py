"""What people look at: the report page, TensorBoard."""
