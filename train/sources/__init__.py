"""Where images come from: one file per source, the same names in each (see ``train.dataset.Source``)."""
