"""What the entry point can be told to do: one file a task, and the steps they share."""
