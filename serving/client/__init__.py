"""The other side of the wire: classify an image or a folder at a running service."""
