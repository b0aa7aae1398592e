"""What runs have left, drawn and written up: their pictures again, and pages about one run or several."""
