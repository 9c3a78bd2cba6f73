"""The processes of a service: how they are started, watched and stopped."""
