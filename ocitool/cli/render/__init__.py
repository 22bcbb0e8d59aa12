"""Text for people: the console, columns, progress, and the words for images, plans and pushes."""
