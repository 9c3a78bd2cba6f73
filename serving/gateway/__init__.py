"""Every runtime behind one address: their processes, the fan-out of a request to all of them, and the page."""
