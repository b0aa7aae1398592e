"""One step: prepare and measure configurations, then the loss and its gradient."""
