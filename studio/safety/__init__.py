"""What is known of a finished picture: the invisible mark, the signed manifest, and how both are verified."""
