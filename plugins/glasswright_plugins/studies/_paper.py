"""What the studies of one paper share."""

SOURCE = "M. Zu and C. P. Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4"
