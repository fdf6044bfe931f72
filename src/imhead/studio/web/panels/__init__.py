"""The panels beside the view. Their widgets turn input into commands and show the state; they hold no logic."""
