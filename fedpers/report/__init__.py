"""What people see: progress while a run goes on, tables at its end."""
