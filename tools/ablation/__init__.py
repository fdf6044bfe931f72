"""What each part of the model is worth: variants trained and tested alike."""
