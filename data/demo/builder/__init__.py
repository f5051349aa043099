"""Builder of the demo: a synthetic world, its data sets, and the tiny model that was pretrained on it."""
