"""Values in and out of a prediction: checked against the description, turned into tensors and back."""
