"""The panels beside the view: widgets that turn into commands, and say what the state says. No logic of their own."""
