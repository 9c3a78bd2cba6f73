"""What a run leaves behind: raw events that nothing has averaged or rounded, and the seal over them."""
