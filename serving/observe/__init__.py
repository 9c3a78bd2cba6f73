"""What can be seen of a running service: time, metrics and the audit log."""
