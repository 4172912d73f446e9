"""What a person sees on a terminal or in a log. Names, values and words of others are shown by ``printable`` here."""
