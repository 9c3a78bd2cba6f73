"""Networks in int8: made from an exported one with training images, kept where they are as accurate."""
