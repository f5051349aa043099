"""The similarities f beside Rouge-L (`scoring.RougeL`), one module each, all satisfying `parts.Scorer`."""
