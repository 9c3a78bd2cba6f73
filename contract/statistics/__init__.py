"""The statistics that two stages share: each definition stands once."""
