"""What a brand team counts and sorts: campaign sheets, picture names, palette scores. No torch."""
