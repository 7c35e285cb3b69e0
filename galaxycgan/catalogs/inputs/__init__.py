"""Read what a survey gives: tables, cutouts, ids and positions."""
