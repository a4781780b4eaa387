"""Pictures, tables and pages of circuits: they read the nouns alone, never a checkpoint."""
