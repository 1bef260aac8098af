"""What a test asks of windfall, counted where it is answered."""

CALLS = {"models": 0, "predictions": 0}
"""How many models were opened and predictions asked for since the counts were last set to 0."""
