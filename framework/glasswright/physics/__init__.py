"""What a solid is: configurations, interactions, minima and their linear response."""
