"""The mechanism that moves images between places: plan, convert, copy."""
